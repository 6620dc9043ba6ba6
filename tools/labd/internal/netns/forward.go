package netns

import (
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"time"
)

// dialTimeout is long for loopback.
const dialTimeout = 5 * time.Second

// Forward takes an address of this machine and leads connections to it to the same address in a namespace, which has to
// exist only then.
func Forward(namespace, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				log.Printf("%s: %v", address, err)
				return
			}
			go forward(conn.(*net.TCPConn), namespace, address)
		}
	}()
	return nil
}

func forward(outside *net.TCPConn, namespace, address string) {
	var inside *net.TCPConn
	err := Do(namespace, func() error {
		// A numeric address: the socket is made by this very thread.
		conn, err := net.DialTimeout("tcp", address, dialTimeout)
		if err == nil {
			inside = conn.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		// A reset is the nearest thing to a port that nobody listens on.
		_ = outside.SetLinger(0)
		outside.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pass(inside, outside) })
	both.Go(func() { pass(outside, inside) })
	both.Wait()
	outside.Close()
	inside.Close()
}

// pass copies until there is no more, and says so to the other side. An end that was reset is reset there, too.
func pass(to, from *net.TCPConn) {
	_, err := io.Copy(to, from)
	if err == nil || errors.Is(err, io.EOF) {
		_ = to.CloseWrite()
		return
	}
	_ = to.SetLinger(0)
	_ = from.SetLinger(0)
	to.Close()
	from.Close()
}
