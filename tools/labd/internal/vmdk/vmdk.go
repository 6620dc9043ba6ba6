// Package vmdk makes the disks of the lab's datastore, in forms of VMDK that QEMU opens: a disk is a descriptor file with a
// flat, sparse extent beside it, as on VMFS. A child disk has a hosted sparse extent of its own and names its parent (VMFS would
// use another sparse format, which QEMU cannot write).
package vmdk

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	sectorSize = 512
	noParent   = 0xffffffff
	// Of hosted sparse extents.
	sparseMagic     = "KDMV"
	grainSectors    = 128 // a grain is 64 KiB
	entriesPerTable = 512
)

// CreateFlat makes file an empty disk of capacity bytes, whose data is in extent, a file beside it. Files that are there are
// replaced.
func CreateFlat(file, extent string, capacity int64) error {
	if err := checkCapacity(capacity); err != nil {
		return err
	}
	if err := createSparse(extent, nil, capacity); err != nil {
		return err
	}
	return writeDescriptor(file, descriptor{createType: "vmfs", extentType: "VMFS", extent: extent, capacity: capacity})
}

// CreateChild makes file an empty child of the disk parent, which has the same capacity. What is written goes to extent.
func CreateChild(file, extent, parent string, capacity int64) error {
	if err := checkCapacity(capacity); err != nil {
		return err
	}
	cid, err := contentID(parent)
	if err != nil {
		return err
	}
	hint, err := filepath.Rel(filepath.Dir(file), parent)
	if err != nil {
		return err
	}
	if !strings.Contains(hint, "/") {
		hint = "./" + hint // what comes before a colon would be a protocol
	}
	head, size := sparseExtent(capacity / sectorSize)
	if err := createSparse(extent, head, size); err != nil {
		return err
	}
	return writeDescriptor(file, descriptor{createType: "twoGbMaxExtentSparse", extentType: "SPARSE", extent: extent, capacity: capacity,
		parent: hint, parentID: cid})
}

func checkCapacity(capacity int64) error {
	const most = 62 << 40 // bytes, as in vSphere
	if capacity < 0 || capacity > most || capacity%sectorSize != 0 {
		return fmt.Errorf("a disk cannot have %d bytes", capacity)
	}
	return nil
}

// createSparse makes a file of size bytes that begins with head.
func createSparse(name string, head []byte, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(head)
	if err == nil {
		err = f.Truncate(size)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// sparseHeader is the first sector of a hosted sparse extent, without padding. Offsets and sizes are in sectors.
type sparseHeader struct {
	Magic              [4]byte
	Version            uint32
	Flags              uint32
	Capacity           uint64
	GrainSize          uint64
	DescriptorOffset   uint64
	DescriptorSize     uint64
	EntriesPerTable    uint32
	RedundantDirectory uint64
	Directory          uint64
	Overhead           uint64
	Unclean            uint8
	Newlines           [4]byte
	Compression        uint16
}

var newlines = [4]byte{'\n', ' ', '\r', '\n'}

// sparseExtent returns what an extent of that many sectors begins with, a header and a grain directory, and how large it is
// with the grain tables, which are all zeros.
func sparseExtent(sectors int64) (head []byte, size int64) {
	const tableSectors = entriesPerTable * 4 / sectorSize
	grains := (sectors + grainSectors - 1) / grainSectors
	tables := (grains + entriesPerTable - 1) / entriesPerTable
	firstTable := 1 + (tables*4+sectorSize-1)/sectorSize
	overhead := (firstTable + tables*tableSectors + grainSectors - 1) / grainSectors * grainSectors
	h := sparseHeader{Magic: [4]byte([]byte(sparseMagic)), Version: 1, Flags: 1, Capacity: uint64(sectors), GrainSize: grainSectors,
		EntriesPerTable: entriesPerTable, Directory: 1, Overhead: uint64(overhead), Newlines: newlines}
	head, _ = binary.Append(nil, binary.LittleEndian, &h) // of fixed size
	head = append(head, make([]byte, sectorSize-len(head))...)
	for i := range tables {
		head = binary.LittleEndian.AppendUint32(head, uint32(firstTable+i*tableSectors))
	}
	return head, overhead * sectorSize
}

type descriptor struct {
	createType, extentType, extent string
	capacity                       int64
	parent                         string // "": none
	parentID                       uint32
}

func writeDescriptor(file string, d descriptor) error {
	var b bytes.Buffer
	parentID := uint32(noParent)
	if d.parent != "" {
		parentID = d.parentID
	}
	fmt.Fprintf(&b, "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n",
		1+rand.Uint32N(noParent-1), parentID, d.createType)
	if d.parent != "" {
		fmt.Fprintf(&b, "parentFileNameHint=\"%s\"\n", d.parent)
	}
	fmt.Fprintf(&b, "\n# Extent description\nRW %d %s \"%s\"\n\n# The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\nddb.thinProvisioned = \"1\"\n",
		d.capacity/sectorSize, d.extentType, filepath.Base(d.extent))
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// contentID reads the CID of a disk's descriptor.
func contentID(file string) (uint32, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "CID="); ok {
			id, err := strconv.ParseUint(strings.TrimSpace(text), 16, 32)
			return uint32(id), err
		}
	}
	return 0, fmt.Errorf("%s is no disk: its descriptor has no CID", file)
}
