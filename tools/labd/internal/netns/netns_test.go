package netns

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// namespace makes one for a test.
func namespace(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip(err)
	}
	name := fmt.Sprintf("vch-test-%d", os.Getpid())
	if err := Create(name, "pods", []string{"10.9.0.1/20", "10.9.16.1/20"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(name); err != nil {
			t.Error(err)
		}
	})
	return name
}

func TestForward(t *testing.T) {
	name := namespace(t)
	var inside net.Listener
	err := Do(name, func() (err error) {
		inside, err = net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		own, err := net.Listen("tcp", "10.9.16.1:0") // an address of the bridge
		if err == nil {
			own.Close()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	address := inside.Addr().String()
	go func() {
		conn, err := inside.Accept()
		if err == nil {
			text, _ := bufio.NewReader(conn).ReadString('\n')
			fmt.Fprintf(conn, "heard %s", text)
			conn.Close()
		}
	}()
	if err := Forward(name, address); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintln(conn, "you")
	if text, err := bufio.NewReader(conn).ReadString('\n'); text != "heard you\n" {
		t.Errorf("%q, %v", text, err)
	}

	inside.Close()
	conn, err = net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes come from where nobody listens", n)
	}
}

// Removing a namespace ends what runs in it.
func TestRemove(t *testing.T) {
	name := namespace(t)
	cmd := exec.Command("sleep", "60")
	if err := Do(name, cmd.Start); err != nil {
		t.Fatal(err)
	}
	if pids, err := Pids(name); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Fatalf("in the namespace are %v, %v; want %d", pids, err, cmd.Process.Pid)
	}
	ended := make(chan error)
	go func() { ended <- cmd.Wait() }()
	if err := Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the process ended by itself")
	}
	if Exists(name) {
		t.Error("the namespace is still there")
	}
}
