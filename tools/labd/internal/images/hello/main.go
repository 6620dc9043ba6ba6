// Command hello is what the image hello-world runs.
package main

import (
	"fmt"
	"runtime"
)

func main() {
	fmt.Printf("\nHello from Docker's hello-world, as the lab makes it!\nThis message shows that your pod runs a program for %s/%s.\n\n", runtime.GOOS, runtime.GOARCH)
}
