// Go's spdystream as a client of lib/spdy, in a module of its own.
module vch-kubelet/test/spdy/peer

go 1.25.0

require github.com/moby/spdystream v0.5.1
