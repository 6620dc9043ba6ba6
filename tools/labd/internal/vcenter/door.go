package vcenter

import (
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
)

// door is vCenter's HTTPS endpoint. Shut, it refuses connections; what is behind it stays.
type door struct {
	address string
	tls     *tls.Config
	handler http.Handler

	mu     sync.Mutex
	server *http.Server // nil while shut
}

func newDoor(address string, config *tls.Config, handler http.Handler) *door {
	config.NextProtos = []string{"http/1.1"} // as a vCenter
	return &door{address: address, tls: config, handler: handler}
}

func loadTLS(certFile, keyFile string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, err
}

// open listens. It is no error if the door is open.
func (d *door) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", d.address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: d.handler, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	d.server = server
	go func() {
		if err := server.Serve(tls.NewListener(listener, d.tls)); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("serve: %v", err)
		}
	}()
	return nil
}

// shut stops listening and cuts every connection.
func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.server != nil {
		_ = d.server.Close()
		d.server = nil
	}
}

func (d *door) isOpen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server != nil
}
