package simulator

import (
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// labFilter is the state that a property filter has in the lab.
type labFilter struct {
	moved   atomic.Bool // its traversal may lead elsewhere
	started bool        // the client has seen its objects
	types   map[string]bool
}

// labRestart makes the next answer the full state.
func (f *PropertyFilter) labRestart() {
	clear(f.refs)
	f.lab.started = false
}

// labUpdate returns what the updates mean for this filter: objects that enter, change and leave.
func (f *PropertyFilter) labUpdate(ctx *Context, updates []types.ObjectUpdate) ([]types.ObjectUpdate, types.BaseMethodFault) {
	var result []types.ObjectUpdate
	entered := map[types.ManagedObjectReference]bool{}
	if f.lab.moved.Swap(false) || !f.lab.started || f.labMoves(ctx, updates) {
		selected, fault := f.labSelect(ctx)
		if fault != nil && !f.lab.started {
			return nil, fault
		}
		f.lab.started = true
		for ref := range f.refs {
			if !selected.has[ref] {
				delete(f.refs, ref)
				result = append(result, types.ObjectUpdate{Obj: ref, Kind: types.ObjectUpdateKindLeave})
			}
		}
		for _, ref := range selected.refs {
			if _, known := f.refs[ref]; known || !f.labWants(ctx, ref) {
				continue
			}
			if update, ok := f.labEnter(ctx, ref); ok {
				f.refs[ref] = struct{}{}
				entered[ref] = true
				result = append(result, update)
			}
		}
	}
	return append(result, f.labModified(ctx, updates, entered)...), nil
}

// labMoves tells whether updates can change which objects the filter reaches.
func (f *PropertyFilter) labMoves(ctx *Context, updates []types.ObjectUpdate) bool {
	paths := map[string]bool{}
	for _, o := range f.Spec.ObjectSet {
		labTraversals(o.SelectSet, func(t *types.TraversalSpec) { paths[t.Path] = true })
	}
	for _, update := range updates {
		_, known := f.refs[update.Obj]
		if update.Kind == types.ObjectUpdateKindLeave {
			if known {
				return true
			}
			continue
		}
		// The simulator puts an object into its folder, pool and host without a word; the object itself speaks.
		if !known && f.labWants(ctx, update.Obj) {
			return true
		}
		for _, change := range update.ChangeSet {
			if paths[change.Name] {
				return true
			}
		}
	}
	return false
}

// labWants tells whether the filter asks for properties of this kind of object.
func (f *PropertyFilter) labWants(ctx *Context, ref types.ManagedObjectReference) bool {
	if wanted, known := f.lab.types[ref.Type]; known {
		return wanted
	}
	rval, ok := getObject(ctx, ref)
	if !ok {
		return false
	}
	wanted := slices.ContainsFunc(f.Spec.PropSet, func(p types.PropertySpec) bool { return labIsA(ref, rval.Type(), p.Type) })
	if f.lab.types == nil {
		f.lab.types = map[string]bool{}
	}
	f.lab.types[ref.Type] = wanted
	return wanted
}

// labIsA tells whether an object is of a type or of one derived from it.
func labIsA(ref types.ManagedObjectReference, rtype reflect.Type, name string) bool {
	if name == ref.Type || name == rtype.Name() {
		return true
	}
	field, ok := rtype.FieldByName(name)
	return ok && field.Anonymous
}

// labEnter reads an object in full.
func (f *PropertyFilter) labEnter(ctx *Context, ref types.ManagedObjectReference) (types.ObjectUpdate, bool) {
	rr := &retrieveResult{
		RetrieveResult: new(types.RetrieveResult),
		req:            &types.RetrievePropertiesEx{SpecSet: []types.PropertyFilterSpec{f.Spec}},
		collected:      map[types.ManagedObjectReference]bool{},
	}
	ctx.WithLock(ref, func() { rr.collect(ctx, ref) })
	if len(rr.Objects) == 0 {
		return types.ObjectUpdate{}, false
	}
	update := types.ObjectUpdate{Obj: ref, Kind: types.ObjectUpdateKindEnter}
	for _, p := range rr.Objects[0].PropSet {
		if p.Val != nil { // what is unset is left out
			update.ChangeSet = append(update.ChangeSet, types.PropertyChange{Op: types.PropertyChangeOpAssign, Name: p.Name, Val: p.Val})
		}
	}
	update.MissingSet = rr.Objects[0].MissingSet
	return update, true
}

// labModified reads, once for each object, the properties of the filter that updates have touched.
func (f *PropertyFilter) labModified(ctx *Context, updates []types.ObjectUpdate, entered map[types.ManagedObjectReference]bool) []types.ObjectUpdate {
	touched := map[types.ManagedObjectReference]map[string]bool{}
	var order []types.ManagedObjectReference
	for _, update := range updates {
		if _, known := f.refs[update.Obj]; !known || entered[update.Obj] || update.Kind == types.ObjectUpdateKindLeave {
			continue
		}
		paths := touched[update.Obj]
		for _, change := range update.ChangeSet {
			f.labPaths(ctx, update.Obj, change.Name, func(path string) {
				if paths == nil {
					paths = map[string]bool{}
					touched[update.Obj] = paths
					order = append(order, update.Obj)
				}
				paths[path] = true
			})
		}
	}
	var result []types.ObjectUpdate
	for _, ref := range order {
		update := types.ObjectUpdate{Obj: ref, Kind: types.ObjectUpdateKindModify}
		ctx.WithLock(ref, func() {
			rval, ok := getObject(ctx, ref)
			if !ok {
				return
			}
			for path := range touched[ref] {
				if change, ok := labRead(rval, path); ok {
					update.ChangeSet = append(update.ChangeSet, change)
				}
			}
		})
		if len(update.ChangeSet) != 0 {
			slices.SortFunc(update.ChangeSet, func(a, b types.PropertyChange) int { return labOrder(a.Name, b.Name) })
			result = append(result, update)
		}
	}
	return result
}

// labOrder sorts paths by name, so that config comes before guest and runtime.
func labOrder(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// labPaths calls visit for each path of the filter's specification that a change touches.
func (f *PropertyFilter) labPaths(ctx *Context, ref types.ManagedObjectReference, changed string, visit func(string)) {
	for _, p := range f.Spec.PropSet {
		if p.Type != ref.Type {
			rval, ok := getObject(ctx, ref)
			if !ok || !labIsA(ref, rval.Type(), p.Type) {
				continue
			}
		}
		if isTrue(p.All) {
			visit(labFirst(changed))
			continue
		}
		for _, path := range p.PathSet {
			if labAffects(changed, path) {
				visit(path)
			}
		}
	}
}

// labFirst cuts a path after its first element.
func labFirst(path string) string {
	for i := range len(path) {
		if path[i] == '.' || path[i] == '[' {
			return path[:i]
		}
	}
	return path
}

// labRead reads one property; one that is unset comes without a value, an array's element that is gone as removed.
func labRead(rval reflect.Value, path string) (types.PropertyChange, bool) {
	change := types.PropertyChange{Name: path, Op: types.PropertyChangeOpAssign}
	var field mo.Field
	if !field.FromString(path) {
		return change, false
	}
	keyed := field.Key != nil
	val, err := fieldValue(rval, field.Path, keyed)
	if err == nil && keyed {
		val, err = fieldValueIndex(reflect.ValueOf(val), field)
	}
	if err != nil && err != errEmptyField {
		return change, false
	}
	if val == nil || err != nil {
		if keyed {
			change.Op = types.PropertyChangeOpRemove
		}
		return change, true
	}
	change.Val = labCopy(val)
	return change, true
}

// labCopy copies what could change while it is sent.
func labCopy(val any) any {
	switch val.(type) {
	case time.Time, types.ManagedObjectReference, types.OptionValue:
		return val
	}
	switch reflect.TypeOf(val).Kind() {
	case reflect.Struct, reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		var dst types.DynamicProperty
		deepCopy(&types.DynamicProperty{Name: "copy", Val: val}, &dst)
		return dst.Val
	}
	return val
}
