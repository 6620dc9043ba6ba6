package vmdk

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const mib = 1 << 20

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// disk makes a flat disk and returns its two files.
func disk(t *testing.T, dir, name string, capacity int64) (file, extent string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	file, extent = filepath.Join(dir, name, name+".vmdk"), filepath.Join(dir, name, name+"-flat.vmdk")
	must(t, CreateFlat(file, extent, capacity))
	return file, extent
}

func child(t *testing.T, dir, name, parent string, capacity int64) string {
	t.Helper()
	file, extent := disk(t, dir, name, mib)
	must(t, CreateChild(file, extent, parent, capacity))
	return file
}

// run runs one of QEMU's programs, if there is QEMU.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestDisksAreSparse(t *testing.T) {
	_, extent := disk(t, t.TempDir(), "d", 64<<30)
	info, err := os.Stat(extent)
	must(t, err)
	if info.Size() != 64<<30 {
		t.Errorf("the extent has %d bytes", info.Size())
	}
	if head, size := sparseExtent(64 << 30 / sectorSize); size > 10*mib || len(head) > 16<<10 {
		t.Errorf("a child begins with %d bytes, %d of them written", size, len(head))
	}
}

// What a child writes stays with it, a grandchild reads through, and none of it is in the parent.
func TestChildOfAChildInQemu(t *testing.T) {
	dir := t.TempDir()
	const capacity = 40*mib + 512
	parent, extent := disk(t, dir, "par:ent", capacity)
	must(t, os.WriteFile(extent, append(bytes.Repeat([]byte{0x11}, 2*mib), make([]byte, capacity-2*mib)...), 0o644))
	a := child(t, dir, "a (1)", parent, capacity)
	run(t, "qemu-io", "-f", "vmdk", "-c", "read -P 0x11 0 2M", "-c", "read -P 0 2M 38M", "-c", "write -P 0x22 1M 64k", "-c", "write -P 0x33 40M 512", a)
	b := child(t, dir, "b", a, capacity)
	run(t, "qemu-io", "-f", "vmdk", "-c", "read -P 0x22 1M 64k", "-c", "read -P 0x11 0 1M", "-c", "read -P 0x33 40M 512", "-c", "write -P 0x44 0 512", b)
	run(t, "qemu-io", "-f", "vmdk", "-r", "-c", "read -P 0x11 0 2M", "-c", "read -P 0 40M 512", parent)
	if info := run(t, "qemu-img", "info", "-f", "vmdk", "--backing-chain", b); !strings.Contains(info, "par:ent.vmdk") {
		t.Errorf("the chain is\n%s", info)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "d.vmdk")
	for _, capacity := range []int64{-512, 100, 1 << 60} {
		if CreateFlat(file, file+"-flat", capacity) == nil {
			t.Errorf("a disk of %d bytes was made", capacity)
		}
	}
	must(t, os.WriteFile(file, []byte("text"), 0o644))
	if err := CreateChild(filepath.Join(dir, "c.vmdk"), filepath.Join(dir, "c-flat.vmdk"), file, mib); err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("a child of a text: %v", err)
	}
}

// memory is a disk's data.
type memory []byte

func (m memory) WriteAt(p []byte, at int64) (int, error) { return copy(m[at:], p), nil }

func TestUnpack(t *testing.T) {
	const capacity = 5*grainSectors + 3
	noise := make([]byte, grainSectors*sectorSize)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	packed := pack(capacity, map[uint64][]byte{0: noise, 2 * grainSectors: bytes.Repeat([]byte{7}, len(noise)), 5 * grainSectors: noise})
	got := make(memory, capacity*sectorSize)
	must(t, Unpack(bytes.NewReader(packed), got, capacity*sectorSize))
	want := make(memory, capacity*sectorSize)
	copy(want, noise)
	copy(want[2*len(noise):], bytes.Repeat([]byte{7}, len(noise)))
	copy(want[5*len(noise):], noise)
	if !bytes.Equal(got, want) {
		t.Error("other data came out")
	}

	for cut := 0; cut < len(packed); cut += 1 + cut/3 {
		if err := Unpack(bytes.NewReader(packed[:cut]), make(memory, capacity*sectorSize), capacity*sectorSize); err == nil {
			t.Fatalf("a stream that was cut at %d of %d is taken", cut, len(packed))
		}
	}
	if err := Unpack(bytes.NewReader(packed), got, (capacity-1)*sectorSize); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a disk that does not fit: %v", err)
	}
	for name, bad := range map[string][]byte{
		"a grain outside": pack(capacity, map[uint64][]byte{6 * grainSectors: noise}),
		"a crooked grain": pack(capacity, map[uint64][]byte{1: noise}),
		"a large grain":   pack(capacity, map[uint64][]byte{0: append(noise, 0)}),
		"a text":          []byte(strings.Repeat("text", 1000)),
	} {
		if err := Unpack(bytes.NewReader(bad), make(memory, capacity*sectorSize), capacity*sectorSize); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestUnpackWhatQemuPacks(t *testing.T) {
	dir := t.TempDir()
	raw, packed := filepath.Join(dir, "raw"), filepath.Join(dir, "packed")
	data := make([]byte, 3*mib)
	for i := range data[:mib] {
		data[2*mib+i] = byte(i / 1000)
	}
	must(t, os.WriteFile(raw, data, 0o644))
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, packed)
	text, err := os.ReadFile(packed)
	must(t, err)
	got := make(memory, len(data))
	must(t, Unpack(bytes.NewReader(text), got, int64(len(data))))
	if !bytes.Equal(got, data) {
		t.Error("other data came out")
	}
}
