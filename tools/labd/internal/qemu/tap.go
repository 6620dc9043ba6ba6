package qemu

import (
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// From linux/if_tun.h, linux/sockios.h and linux/if.h.
const (
	tunSetIff     = 0x400454ca
	iffTap        = 0x0002
	iffNoPi       = 0x1000
	iffVnetHdr    = 0x4000
	siocBrAddBr   = 0x89a0
	siocBrAddIf   = 0x89a2
	interfaceName = 16
)

type ifreq struct {
	name  [interfaceName]byte
	value [24]byte
}

func newIfreq(name string) (*ifreq, error) {
	r := &ifreq{}
	if len(name) >= interfaceName {
		return nil, fmt.Errorf("%q is too long for a network interface", name)
	}
	copy(r.name[:], name)
	return r, nil
}

func ioctl(fd int, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// withSocket lends a socket for ioctls about interfaces.
func withSocket(f func(fd int) error) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return f(fd)
}

// openTap makes a tap interface that is a port of bridge, and goes with the last descriptor of it.
func openTap(bridge string) (*os.File, error) {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	tap := os.NewFile(uintptr(fd), "tap")
	r, _ := newIfreq("tap%d")
	*(*uint16)(unsafe.Pointer(&r.value)) = iffTap | iffNoPi | iffVnetHdr
	if err := ioctl(fd, tunSetIff, unsafe.Pointer(r)); err != nil {
		tap.Close()
		return nil, fmt.Errorf("tap interface: %w", err)
	}
	name := string(r.name[:clen(r.name[:])])
	err = plug(bridge, name)
	if err == nil {
		err = linkUp(name)
	}
	if err != nil {
		tap.Close()
		return nil, fmt.Errorf("%s on bridge %s: %w", name, bridge, err)
	}
	return tap, nil
}

func clen(b []byte) int {
	for i, c := range b {
		if c == 0 {
			return i
		}
	}
	return len(b)
}

// plug makes an interface a port of a bridge.
func plug(bridge, name string) error {
	port, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	r, err := newIfreq(bridge)
	if err != nil {
		return err
	}
	*(*int32)(unsafe.Pointer(&r.value)) = int32(port.Index)
	return withSocket(func(fd int) error { return ioctl(fd, siocBrAddIf, unsafe.Pointer(r)) })
}

func linkUp(name string) error {
	r, err := newIfreq(name)
	if err != nil {
		return err
	}
	return withSocket(func(fd int) error {
		if err := ioctl(fd, syscall.SIOCGIFFLAGS, unsafe.Pointer(r)); err != nil {
			return err
		}
		*(*uint16)(unsafe.Pointer(&r.value)) |= syscall.IFF_UP
		return ioctl(fd, syscall.SIOCSIFFLAGS, unsafe.Pointer(r))
	})
}

// bridgeFor makes the bridge of a network that has none yet: the VMs of other networks than the pods' see each other only.
func bridgeFor(network string) (string, error) {
	bridge := fmt.Sprintf("net%08x", crc32.ChecksumIEEE([]byte(network)))
	r, err := newIfreq(bridge)
	if err != nil {
		return "", err
	}
	err = withSocket(func(fd int) error { return ioctl(fd, siocBrAddBr, unsafe.Pointer(&r.name)) })
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return "", fmt.Errorf("bridge of %s: %w", network, err)
	}
	return bridge, linkUp(bridge)
}
