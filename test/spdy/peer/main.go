// peer SERVER runs the C++ program SERVER and talks SPDY/3.1 to it with Go's spdystream, as kubectl and the API server
// do. Each line of the output is one check; the exit code is 1 when one has failed.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/moby/spdystream"
)

const wait = 60 * time.Second

type session struct {
	conn *spdystream.Connection
	raw  net.Conn
}

func dial(port string) (*session, error) {
	raw, err := net.DialTimeout("tcp", "127.0.0.1:"+port, wait)
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(2 * wait))
	fmt.Fprintf(raw, "POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n")
	reader := bufio.NewReader(raw)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("the upgrade was answered %s", response.Status)
	}
	if reader.Buffered() > 0 {
		return nil, fmt.Errorf("%d bytes before anything was asked", reader.Buffered())
	}
	conn, err := spdystream.NewConnection(raw, false)
	if err != nil {
		return nil, err
	}
	go conn.Serve(spdystream.NoOpStreamHandler)
	return &session{conn, raw}, nil
}

func (s *session) open(fields ...string) (*spdystream.Stream, error) {
	headers := http.Header{}
	for i := 0; i < len(fields); i += 2 {
		headers.Add(fields[i], fields[i+1])
	}
	stream, err := s.conn.CreateStream(headers, nil, false)
	if err != nil {
		return nil, err
	}
	return stream, stream.WaitTimeout(wait)
}

func random(n int, seed int64) []byte {
	data := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(data)
	return data
}

// Sends data in pieces while it reads, and compares what comes back.
func echo(s *session, data []byte, piece int) error {
	stream, err := s.open("mode", "echo")
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		for rest := data; len(rest) > 0; {
			n := min(piece, len(rest))
			if _, err := stream.Write(rest[:n]); err != nil {
				failed <- err
				return
			}
			rest = rest[n:]
		}
		failed <- stream.Close()
	}()
	back, err := io.ReadAll(stream)
	if err == nil {
		err = <-failed
	}
	if err == nil && !bytes.Equal(back, data) {
		err = fmt.Errorf("sent %d bytes, and %d others came back", len(data), len(back))
	}
	return err
}

var checks = []struct {
	name string
	run  func(s *session) error
}{
	{"echo of a few bytes", func(s *session) error { return echo(s, []byte("hello"), 1) }},
	{"echo of 8 MB, many times the windows that nobody updates", func(s *session) error {
		return echo(s, random(8<<20, 1), 100_000)
	}},
	{"fifty streams at once", func(s *session) error {
		var group sync.WaitGroup
		errors := make(chan error, 50)
		for i := range 50 {
			group.Add(1)
			go func() {
				defer group.Done()
				if err := echo(s, random(100_000+i, int64(i)), 1000+i*317); err != nil {
					errors <- fmt.Errorf("stream %d: %w", i, err)
				}
			}()
		}
		group.Wait()
		close(errors)
		return <-errors
	}},
	{"32 MB up, answered after the half-close", func(s *session) error {
		stream, err := s.open("mode", "sink")
		if err != nil {
			return err
		}
		data := random(32<<20, 7)
		// A frame can hold no more than 16 MB.
		for rest := data; len(rest) > 0; {
			n := min(15_000_000, len(rest))
			if _, err := stream.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		stream.Close()
		answer, err := io.ReadAll(stream)
		if err == nil && string(answer) != fmt.Sprintf("%d %x", len(data), sha256.Sum256(data)) {
			err = fmt.Errorf("the server got %s", answer)
		}
		return err
	}},
	{"32 MB down, to a slow reader", func(s *session) error {
		const size = 32 << 20
		stream, err := s.open("mode", "source", "bytes", fmt.Sprint(size))
		if err != nil {
			return err
		}
		time.Sleep(300 * time.Millisecond)
		data, err := io.ReadAll(stream)
		if err != nil || len(data) != size {
			return fmt.Errorf("%d bytes, %v", len(data), err)
		}
		for i, b := range data {
			if int(b) != i%25100%251 {
				return fmt.Errorf("byte %d is %d", i, b)
			}
		}
		return nil
	}},
	{"headers, also with several values", func(s *session) error {
		want := http.Header{"Mode": {"headers"}, "Port": {"80"}, "Requestid": {"a", "b"}, "Empty": {""}}
		stream, err := s.conn.CreateStream(want, nil, false)
		if err != nil {
			return err
		}
		if err := stream.WaitTimeout(wait); err != nil {
			return err
		}
		// spdystream drops the headers of a reply: what counts is that the decompressor can read on.
		_, err = io.ReadAll(stream)
		for i := 0; err == nil && i < 20; i++ {
			err = echo(s, []byte("x"), 1)
		}
		return err
	}},
	{"a refused stream", func(s *session) error {
		stream, err := s.open("mode", "refuse")
		if err != spdystream.ErrReset {
			return fmt.Errorf("stream %v, %v", stream, err)
		}
		return nil
	}},
	{"a stream that is reset", func(s *session) error {
		stream, err := s.open("mode", "reset-late")
		if err != nil {
			return err
		}
		if _, err := stream.Write([]byte("x")); err != nil {
			return err
		}
		if data, err := io.ReadAll(stream); len(data) > 0 || err != nil {
			return fmt.Errorf("%q, %v", data, err)
		}
		return nil
	}},
	{"a stream that the client resets", func(s *session) error {
		stream, err := s.open("mode", "source", "bytes", "1000000")
		if err != nil {
			return err
		}
		return stream.Reset()
	}},
	{"ping", func(s *session) error { _, err := s.conn.Ping(); return err }},
	{"the same connection still works", func(s *session) error { return echo(s, random(100_000, 3), 1000) }},
}

func main() {
	server := exec.Command(os.Args[1])
	server.Stderr = os.Stderr
	stdin, _ := server.StdinPipe()
	stdout, _ := server.StdoutPipe()
	if err := server.Start(); err != nil {
		fmt.Println("FAIL:", err)
		os.Exit(1)
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	port := strings.TrimSpace(line)
	failures := 0
	tell := func(name string, begin time.Time, err error) {
		if err != nil {
			failures++
			fmt.Printf("FAIL %s: %v\n", name, err)
		} else {
			fmt.Printf("ok   %s (%v)\n", name, time.Since(begin).Round(time.Millisecond))
		}
	}
	shared, err := dial(port)
	tell("upgrade", time.Now(), err)
	if err == nil {
		for _, check := range checks {
			begin := time.Now()
			tell(check.name, begin, check.run(shared))
		}
		// As k8s.io/streaming ends a connection: what streams are left were reset before.
		begin := time.Now()
		err := shared.conn.Close()
		shared.raw.Close()
		tell("go away", begin, err)
	}
	// A client that is gone in the middle of things must not take the server with it.
	for range 3 {
		if s, err := dial(port); err == nil {
			if stream, err := s.open("mode", "source", "bytes", "100000000"); err == nil {
				io.CopyN(io.Discard, stream, 1000)
			}
			s.raw.Close()
		}
	}
	begin := time.Now()
	again, err := dial(port)
	if err == nil {
		err = echo(again, []byte("x"), 1)
	}
	tell("after clients that vanished", begin, err)
	stdin.Close()
	if err := server.Wait(); err != nil {
		tell("the server's end", begin, err)
	}
	if failures > 0 {
		os.Exit(1)
	}
}
