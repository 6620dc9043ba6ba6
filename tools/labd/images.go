package main

import (
	"fmt"
	"os"
	"path/filepath"

	"vch-kubelet/tools/labd/internal/images"
)

// buildImages makes the images of the lab's registry; tools/lab build calls it.
func buildImages(args []string) error {
	if len(args) != 2 {
		return badUsage("name the directory to make and the one for downloads")
	}
	dir, cache := args[0], args[1]
	scratch, err := os.MkdirTemp("", "lab-images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	tools := filepath.Join(os.Getenv("LAB_ROOT"), "tools")
	lab := filepath.Join(tools, "labd")
	places := images.Places{Kubernetes: filepath.Join(lab, "kubernetes"), Lab: lab, Tools: tools, Cache: cache, Scratch: scratch}
	return images.Build(dir, places, func(line string) { fmt.Fprintln(os.Stderr, "lab: images: "+line) })
}
