package qemu

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Program is QEMU.
const Program = "qemu-system-x86_64"

// CheckAccel refuses what is no way to run guests.
func CheckAccel(accel string) error {
	switch accel {
	case "auto", "kvm", "tcg":
		return nil
	}
	return fmt.Errorf("%q is no accelerator: say auto, kvm or tcg", accel)
}

// ChooseAccel decides how guests run. auto takes KVM where it works, which is found out by booting something: there are
// machines where KVM makes VMs, but runs only kernels made for it. why says what kept it from KVM.
func ChooseAccel(accel, scratch string) (chosen, why string) {
	if accel != "auto" {
		return accel, ""
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return "tcg", err.Error()
	}
	f.Close()
	if err := Probe("kvm", scratch); err != nil {
		return "tcg", err.Error()
	}
	return "kvm", ""
}

// cpuOf is the CPU that guests get.
func cpuOf(accel string) string {
	if accel == "tcg" {
		return "max,la57=off" // a fifth level of page tables would only cost time
	}
	return "host"
}

const (
	probePort   = 0xf4
	probeValue  = 0x10
	probeStatus = probeValue<<1 | 1 // what isa-debug-exit makes of it
	// probeTime is several times what a working KVM needs on a busy machine, the start of QEMU included.
	probeTime = 3 * time.Second
)

// Probe boots a few instructions with an accelerator, on the CPU that guests get: another may run where that one does not. scratch is
// a directory for a file.
func Probe(accel, scratch string) error {
	file := filepath.Join(scratch, "probe.img")
	if err := os.WriteFile(file, probeSector(), 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, Program, "-machine", "pc,accel="+accel, "-cpu", cpuOf(accel), "-nodefaults", "-no-user-config", "-display", "none", "-m", "16",
		"-device", fmt.Sprintf("isa-debug-exit,iobase=%#x,iosize=1", probePort), "-drive", "if=ide,format=raw,readonly=off,file="+escape(file))
	out, err := cmd.CombinedOutput()
	switch {
	case cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == probeStatus:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("a few instructions are not done after %v with %s\n%s", probeTime, accel, out)
	}
	return fmt.Errorf("%s does not work: %w\n%s", accel, err, out)
}

// probeSector is a boot sector that goes where a kernel goes: to protected mode, and with an iret to the end.
func probeSector() []byte {
	const origin, gdt = 0x7c00, 0x60
	code := []byte{
		0xfa,       // cli
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0x8e, 0xd0, // mov ss, ax
		0xbc, 0x00, 0x7c, // mov sp, 0x7c00
		0x0f, 0x01, 0x16, gdt + 24, 0x7c, // lgdt [gdt+24]
		0x0f, 0x20, 0xc0, // mov eax, cr0
		0x0c, 0x01, // or al, 1
		0x0f, 0x22, 0xc0, // mov cr0, eax
		0xea, 0x1c, 0x7c, 0x08, 0x00, // jmp 8:0x7c1c
		// 0x1c, with 32 bits from here
		0x66, 0xb8, 0x10, 0x00, // mov ax, 16
		0x8e, 0xd8, // mov ds, ax
		0x8e, 0xd0, // mov ss, ax
		0x9c,       // pushf
		0x6a, 0x08, // push 8
		0x68, 0x2d, 0x7c, 0x00, 0x00, // push 0x7c2d
		0xcf, // iret
		// 0x2d
		0xb0, probeValue, // mov al, value
		0xe6, probePort, // out port, al
		0xf4,       // hlt
		0xeb, 0xfd, // jmp to the hlt
	}
	sector := make([]byte, 512)
	copy(sector, code)
	flat := func(access byte) []byte { return []byte{0xff, 0xff, 0, 0, 0, access, 0xcf, 0} }
	copy(sector[gdt+8:], flat(0x9a))
	copy(sector[gdt+16:], flat(0x92))
	binary.LittleEndian.PutUint16(sector[gdt+24:], 23)
	binary.LittleEndian.PutUint32(sector[gdt+26:], origin+gdt)
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}
