package registry

import (
	"net/http"
	"os"
	"strconv"
)

// corruptReader reads a file in which one byte is wrong.
type corruptReader struct {
	file     *os.File
	at       int64
	position int64
}

func (c *corruptReader) Read(p []byte) (int, error) {
	n, err := c.file.Read(p)
	if i := c.at - c.position; i >= 0 && i < int64(n) {
		p[i] ^= 0xff
	}
	c.position += int64(n)
	return n, err
}

func (c *corruptReader) Seek(offset int64, whence int) (int64, error) {
	position, err := c.file.Seek(offset, whence)
	c.position = position
	return position, err
}

// smallestCut is how long an answer must be to be cut: a client that goes on where it was gets to the end.
const smallestCut = 64 << 10

// cutWriter ends the connection when half of an answer is sent.
type cutWriter struct {
	http.ResponseWriter
	left int64 // 0: not known yet, negative: no cut
}

func (c *cutWriter) WriteHeader(status int) {
	length, err := strconv.ParseInt(c.Header().Get("Content-Length"), 10, 64)
	c.left = -1
	if err == nil && length >= smallestCut {
		c.left = length / 2
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if c.left < 0 {
		return c.ResponseWriter.Write(p)
	}
	if int64(len(p)) < c.left {
		n, err := c.ResponseWriter.Write(p)
		c.left -= int64(n)
		return n, err
	}
	if _, err := c.ResponseWriter.Write(p[:c.left]); err != nil {
		return 0, err
	}
	if f, ok := c.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}
