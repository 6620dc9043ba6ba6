package registry

import (
	"regexp"
	"slices"
	"strings"
)

// behaviour is how the registry treats a repository whose name begins with words that ask for it: private/busybox is
// library/busybox behind a password, cut/private/redirect/pause all three at once.
type behaviour struct {
	auth     string // "", basic, private or token
	redirect bool   // layers are elsewhere
	corrupt  bool   // layers have a wrong byte
	cut      bool   // the connection ends in the middle of a layer
}

// namePattern is what the specification allows as a repository's name.
var namePattern = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// parseName takes the words that ask for a behaviour off a repository's name.
func parseName(name string) (string, behaviour) {
	var b behaviour
	for {
		word, rest, more := strings.Cut(name, "/")
		if !more {
			return name, b
		}
		switch word {
		case "basic", "private", "token":
			b.auth = word
		case "redirect":
			b.redirect = true
		case "corrupt":
			b.corrupt = true
		case "cut":
			b.cut = true
		default:
			return name, b
		}
		name = rest
	}
}

// route is what a path under /v2/ asks for.
type route struct{ name, kind, reference string }

// parseRoute takes NAME/manifests/REFERENCE, NAME/blobs/DIGEST or NAME/tags/list apart.
func parseRoute(path string) (route, bool) {
	parts := strings.Split(path, "/")
	n := len(parts)
	if n < 3 {
		return route{}, false
	}
	r := route{strings.Join(parts[:n-2], "/"), parts[n-2], parts[n-1]}
	known := slices.Contains([]string{"manifests", "blobs"}, r.kind) || r.kind == "tags" && r.reference == "list"
	return r, known && r.reference != ""
}
