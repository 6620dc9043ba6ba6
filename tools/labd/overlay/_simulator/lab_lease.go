package simulator

import (
	"crypto/sha1"
	"hash"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"vch-kubelet/tools/labd/simhook"
)

// labLeases are the timers of leases whose transfer is under way.
var labLeases sync.Map

// labTransfer moves one file of a lease. A disk that is uploaded becomes the VM's.
func (l *HttpNfcLease) labTransfer(r *http.Request, name string, dst io.Writer, src io.Reader) (int64, error) {
	sum, upload := dst.(hash.Hash)
	if !upload {
		return io.Copy(dst, src)
	}
	if sum == nil {
		sum = sha1.New()
	}
	counted := &labCounter{r: io.TeeReader(src, sum)}
	file := l.files[name]
	var err error
	if l.labIsDisk(name) {
		err = simhook.Active.DiskUpload(VirtualDiskBackingFileName(file), counted)
	} else {
		err = labStore(file, counted)
	}
	if err != nil {
		log.Printf("import of %s: %v", file, err)
		return counted.n, err
	}
	_, err = io.Copy(io.Discard, counted)
	return counted.n, err
}

func (l *HttpNfcLease) labIsDisk(name string) bool {
	for _, u := range l.Info.DeviceUrl {
		if u.TargetId == name {
			return isTrue(u.Disk)
		}
	}
	return false
}

func labStore(file string, r io.Reader) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

type labCounter struct {
	r io.Reader
	n int64
}

func (c *labCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// labWatch ends the import when the client is silent for as long as the lease says.
func (l *HttpNfcLease) labWatch(ctx *Context) {
	patience := simhook.Active.LeaseTimeout()
	labLeases.Store(l.Self, time.AfterFunc(patience, func() {
		log.Printf("lease %s: no progress for %v", l.Self.Value, patience)
		l.error(ctx, &types.LocalizedMethodFault{Fault: new(types.Timedout), LocalizedMessage: "Lease timed out"})
		l.labAbandon(ctx)
	}))
}

func (l *HttpNfcLease) labEnd() {
	nfcLease.Delete(l.Self)
	if timer, ok := labLeases.LoadAndDelete(l.Self); ok {
		timer.(*time.Timer).Stop()
	}
}

// labAbandon destroys the VM whose import does not come to its end.
func (l *HttpNfcLease) labAbandon(ctx *Context) {
	l.labEnd()
	if l.Info == nil {
		return
	}
	if vm, ok := ctx.Map.Get(l.Info.Entity).(*VirtualMachine); ok {
		vm.DestroyTask(ctx, &types.Destroy_Task{This: vm.Self})
	}
}

// HttpNfcLeaseProgress keeps the lease.
func (l *HttpNfcLease) HttpNfcLeaseProgress(_ *Context, req *types.HttpNfcLeaseProgress) soap.HasFault {
	if timer, ok := labLeases.Load(l.Self); ok {
		timer.(*time.Timer).Reset(simhook.Active.LeaseTimeout())
	}
	l.TransferProgress = req.Percent
	return &methods.HttpNfcLeaseProgressBody{Res: new(types.HttpNfcLeaseProgressResponse)}
}

// HttpNfcLeaseComplete makes the VM everybody's.
func (l *HttpNfcLease) HttpNfcLeaseComplete(ctx *Context, req *types.HttpNfcLeaseComplete) soap.HasFault {
	body := new(methods.HttpNfcLeaseCompleteBody)
	if l.State != types.HttpNfcLeaseStateReady {
		body.Fault_ = Fault("", new(types.InvalidState))
		return body
	}
	l.labEnd()
	ctx.Session.Remove(ctx, req.This)
	body.Res = new(types.HttpNfcLeaseCompleteResponse)
	return body
}

// HttpNfcLeaseAbort takes back the import.
func (l *HttpNfcLease) HttpNfcLeaseAbort(ctx *Context, req *types.HttpNfcLeaseAbort) soap.HasFault {
	l.labAbandon(ctx)
	ctx.Session.Remove(ctx, req.This)
	return &methods.HttpNfcLeaseAbortBody{Res: new(types.HttpNfcLeaseAbortResponse)}
}
