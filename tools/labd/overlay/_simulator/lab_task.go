package simulator

import (
	"fmt"
	"log"
	"runtime/debug"
	"sync"

	"github.com/vmware/govmomi/vim25/types"

	"vch-kubelet/tools/labd/simhook"
)

// labHeld are the locks that a task gives back when it ends, by its context.
var labHeld sync.Map

// labHold locks an object until the task that runs in ctx has ended.
func labHold(ctx *Context, ref types.ManagedObjectReference) {
	labHeld.Store(ctx, ctx.Map.AcquireLock(ctx, ref))
}

// labExecute does the work of a task. A panic fails the task instead of ending the process.
func (t *Task) labExecute(refused types.BaseMethodFault) (result types.AnyType, fault types.BaseMethodFault) {
	defer simhook.Active.TaskEnds(t.Self, *t.Info.Entity)
	defer func() {
		if unlock, ok := labHeld.LoadAndDelete(t.ctx); ok {
			unlock.(func())()
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			log.Printf("%s on %s: panic: %v\n%s", t.Info.Name, t.Info.Entity, p, debug.Stack())
			result, fault = nil, &types.SystemError{Reason: fmt.Sprint(p)}
		}
	}()
	if refused != nil {
		return nil, refused
	}
	return t.Execute(t)
}
