package vmdk

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Of streamOptimized disks: a header and a descriptor, then markers, each of which may announce a compressed grain.
const (
	flagCompressed = 1 << 16
	flagMarkers    = 1 << 17
	deflate        = 1
	markerEnd      = 0
	markerTable    = 1
	markerDir      = 2
	markerFooter   = 3
	maxOverhead    = 1 << 16 // sectors
	maxGrain       = 1 << 11
	maxMetadata    = 1 << 32 // sectors of a table that is skipped
)

// Unpack reads a streamOptimized disk of at most capacity bytes from r to the end of the stream, and writes its data to w,
// leaving out grains of zeros.
func Unpack(r io.Reader, w io.WriterAt, capacity int64) error {
	u := &unpacker{r: bufio.NewReaderSize(r, 1<<17), w: w}
	if err := u.header(capacity / sectorSize); err != nil {
		return fmt.Errorf("not a streamOptimized disk for this VM: %w", err)
	}
	for {
		end, err := u.marker()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the disk has an end of its own
		}
		if err != nil {
			return fmt.Errorf("streamOptimized disk, after %d bytes: %w", u.read, err)
		}
		if end {
			return nil
		}
	}
}

type unpacker struct {
	r        *bufio.Reader
	w        io.WriterAt
	read     int64
	capacity uint64 // sectors
	grain    uint64 // sectors
	inflate  io.ReadCloser
	data     []byte
}

func (u *unpacker) header(most int64) error {
	var sector [sectorSize]byte
	if err := u.full(sector[:]); err != nil {
		return err
	}
	var h sparseHeader
	if _, err := binary.Decode(sector[:], binary.LittleEndian, &h); err != nil {
		return err
	}
	switch {
	case string(h.Magic[:]) != sparseMagic:
		return errors.New("no VMDK header")
	case h.Flags&flagCompressed == 0 || h.Flags&flagMarkers == 0 || h.Compression != deflate:
		return fmt.Errorf("flags %#x, compression %d", h.Flags, h.Compression)
	case h.Capacity > uint64(most):
		return fmt.Errorf("its %d sectors are more than the %d of the disk", h.Capacity, most)
	case h.GrainSize == 0 || h.GrainSize > maxGrain || h.GrainSize&(h.GrainSize-1) != 0:
		return fmt.Errorf("a grain has %d sectors", h.GrainSize)
	case h.Overhead == 0 || h.Overhead > maxOverhead:
		return fmt.Errorf("%d sectors of metadata", h.Overhead)
	}
	u.capacity, u.grain = h.Capacity, h.GrainSize
	u.data = make([]byte, u.grain*sectorSize+1)
	return u.skip(int64(h.Overhead-1) * sectorSize)
}

// marker reads one marker and what belongs to it, and tells whether it was the last.
func (u *unpacker) marker() (end bool, err error) {
	var head [12]byte
	if err := u.full(head[:]); err != nil {
		return false, err
	}
	value, size := binary.LittleEndian.Uint64(head[:]), binary.LittleEndian.Uint32(head[8:])
	if size != 0 {
		return false, u.grainAt(value, int64(size))
	}
	var rest [sectorSize - 12]byte
	if err := u.full(rest[:]); err != nil {
		return false, err
	}
	switch kind := binary.LittleEndian.Uint32(rest[:]); kind {
	case markerEnd:
		return true, nil
	case markerTable, markerDir, markerFooter:
		if value > maxMetadata {
			return false, fmt.Errorf("a marker of %d sectors", value)
		}
		return false, u.skip(int64(value) * sectorSize)
	default:
		return false, fmt.Errorf("marker of unknown type %d", kind)
	}
}

func (u *unpacker) grainAt(sector uint64, size int64) error {
	if sector%u.grain != 0 || sector >= u.capacity {
		return fmt.Errorf("a grain at sector %d of %d", sector, u.capacity)
	}
	if size > int64(u.grain)*sectorSize*2 {
		return fmt.Errorf("a grain of %d bytes", size)
	}
	packed := io.LimitReader(u.r, size)
	var err error
	if u.inflate == nil {
		u.inflate, err = zlib.NewReader(packed)
	} else {
		err = u.inflate.(zlib.Resetter).Reset(packed, nil)
	}
	if err != nil {
		return noEOF(err)
	}
	n, err := io.ReadFull(u.inflate, u.data)
	switch {
	case err == nil:
		return fmt.Errorf("the grain at sector %d is too large", sector)
	case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return err
	}
	left := packed.(*io.LimitedReader).N
	u.read += size - left
	padding := (sectorSize - (12+size)%sectorSize) % sectorSize
	if err := u.skip(left + padding); err != nil {
		return err
	}
	data := u.data[:n]
	if most := (u.capacity - sector) * sectorSize; uint64(n) > most {
		data = data[:most] // the last grain is padded
	}
	if len(bytes.TrimLeft(data, "\x00")) == 0 {
		return nil
	}
	_, err = u.w.WriteAt(data, int64(sector)*sectorSize)
	return err
}

func (u *unpacker) full(p []byte) error {
	n, err := io.ReadFull(u.r, p)
	u.read += int64(n)
	return err
}

func (u *unpacker) skip(n int64) error {
	skipped, err := io.CopyN(io.Discard, u.r, n)
	u.read += skipped
	return noEOF(err)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
