package registry

import (
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Config says how to run the registry.
type Config struct {
	Layouts  []string // directories of images
	Address  string   // host:port for HTTPS
	Plain    string   // host:port for HTTP
	Storage  string   // host:port for HTTPS, where redirects lead
	CertFile string
	KeyFile  string
}

// Run serves until the process ends.
func Run(c Config) error {
	s, err := New(c.Storage, c.Layouts...)
	if err != nil {
		return err
	}
	ended := make(chan error)
	serve := func(address string, handler http.Handler, secure bool) error {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: logged(handler), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: log.Default()}
		go func() {
			if secure {
				ended <- server.ServeTLS(listener, c.CertFile, c.KeyFile)
			} else {
				ended <- server.Serve(listener)
			}
		}()
		return nil
	}
	if err := errors.Join(serve(c.Storage, s.Storage(), true), serve(c.Plain, s, false), serve(c.Address, s, true)); err != nil {
		return err
	}
	log.Printf("%d repositories of %s at https://%s and http://%s", len(s.repos), strings.Join(c.Layouts, " and "), c.Address, c.Plain)
	return <-ended
}

// logged writes a line for every request.
func logged(handler http.Handler) http.Handler {
	out := log.New(os.Stdout, "", log.LstdFlags|log.Lmicroseconds)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin, counted := time.Now(), &countingWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			out.Printf("%s %s %s: %d, %d bytes, %d ms", r.RemoteAddr, r.Method, r.URL.RequestURI(), counted.status, counted.bytes, time.Since(begin).Milliseconds())
		}()
		handler.ServeHTTP(counted, r)
	})
}

// countingWriter knows what was answered.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (c *countingWriter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}

func (c *countingWriter) Flush() {
	if f, ok := c.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}
