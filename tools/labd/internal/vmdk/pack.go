package vmdk

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
)

// Pack makes a streamOptimized disk of capacity bytes that begins with data. It is for tests.
func Pack(data []byte, capacity int64) []byte {
	grains := map[uint64][]byte{}
	for i := 0; i < len(data); i += grainSectors * sectorSize {
		grain := make([]byte, grainSectors*sectorSize)
		copy(grain, data[i:])
		grains[uint64(i)/sectorSize] = grain
	}
	return pack(uint64(capacity)/sectorSize, grains)
}

// pack packs grains of 64 KiB, by their sector.
func pack(capacity uint64, grains map[uint64][]byte) []byte {
	h := sparseHeader{Magic: [4]byte([]byte(sparseMagic)), Version: 3, Flags: 1 | flagCompressed | flagMarkers, Capacity: capacity,
		GrainSize: grainSectors, EntriesPerTable: entriesPerTable, Directory: ^uint64(0), Overhead: 4, Newlines: newlines, Compression: deflate}
	out, _ := binary.Append(nil, binary.LittleEndian, &h) // of fixed size
	pad := func() { out = append(out, make([]byte, (sectorSize-len(out)%sectorSize)%sectorSize)...) }
	pad()
	out = append(out, make([]byte, 3*sectorSize)...)
	for sector, data := range grains {
		var packed bytes.Buffer
		z := zlib.NewWriter(&packed)
		_, _ = z.Write(data) // to memory
		_ = z.Close()
		out = binary.LittleEndian.AppendUint64(out, sector)
		out = binary.LittleEndian.AppendUint32(out, uint32(packed.Len()))
		out = append(out, packed.Bytes()...)
		pad()
	}
	for _, m := range []struct {
		sectors uint64
		kind    uint32
	}{{4, markerTable}, {1, markerDir}, {1, markerFooter}, {0, markerEnd}} {
		out = binary.LittleEndian.AppendUint64(out, m.sectors)
		out = binary.LittleEndian.AppendUint32(out, 0)
		out = binary.LittleEndian.AppendUint32(out, m.kind)
		pad()
		out = append(out, make([]byte, m.sectors*sectorSize)...)
	}
	return out
}
