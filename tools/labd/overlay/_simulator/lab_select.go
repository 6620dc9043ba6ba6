package simulator

import (
	"github.com/vmware/govmomi/vim25/types"
)

// labSelection is what a filter's traversal reaches, in order.
type labSelection struct {
	refs []types.ManagedObjectReference
	has  map[types.ManagedObjectReference]bool

	named   map[string]*types.TraversalSpec
	visited map[labVisit]bool
}

// labVisit guards against walking in circles.
type labVisit struct {
	ref  types.ManagedObjectReference
	spec *types.TraversalSpec
}

func (s *labSelection) add(ref types.ManagedObjectReference) {
	if !s.has[ref] {
		s.has[ref] = true
		s.refs = append(s.refs, ref)
	}
}

// labTraversals visits every traversal of a set and of those nested in it.
func labTraversals(set []types.BaseSelectionSpec, visit func(*types.TraversalSpec)) {
	for _, s := range set {
		if t, ok := s.(*types.TraversalSpec); ok {
			visit(t)
			labTraversals(t.SelectSet, visit)
		}
	}
}

// labSelect walks the filter's traversals. It holds one object's lock at a time and reads nothing but references. The fault
// is for a client that has just made the filter; what it reaches besides is right all the same.
func (f *PropertyFilter) labSelect(ctx *Context) (*labSelection, types.BaseMethodFault) {
	s := &labSelection{
		has:     map[types.ManagedObjectReference]bool{},
		named:   map[string]*types.TraversalSpec{},
		visited: map[labVisit]bool{},
	}
	var result types.BaseMethodFault
	for _, o := range f.Spec.ObjectSet {
		labTraversals(o.SelectSet, func(t *types.TraversalSpec) {
			if t.Name != "" {
				s.named[t.Name] = t
			}
		})
	}
	for _, o := range f.Spec.ObjectSet {
		if _, ok := getObject(ctx, o.Obj); !ok {
			if isFalse(f.Spec.ReportMissingObjectsInResults) {
				result = &types.ManagedObjectNotFound{Obj: o.Obj}
			}
			continue
		}
		if o.SelectSet == nil || isFalse(o.Skip) {
			s.add(o.Obj)
		}
		if fault := s.walk(ctx, o.Obj, o.SelectSet); fault != nil {
			result = fault
		}
	}
	return s, result
}

func (s *labSelection) walk(ctx *Context, ref types.ManagedObjectReference, set []types.BaseSelectionSpec) types.BaseMethodFault {
	for _, spec := range set {
		traversal, ok := spec.(*types.TraversalSpec)
		if !ok {
			if traversal = s.named[spec.GetSelectionSpec().Name]; traversal == nil {
				return &types.InvalidArgument{InvalidProperty: "undefined TraversalSpec name"}
			}
		}
		visit := labVisit{ref, traversal}
		if s.visited[visit] {
			continue
		}
		s.visited[visit] = true
		for _, child := range labChildren(ctx, ref, traversal) {
			if isFalse(traversal.Skip) {
				s.add(child)
			}
			if len(traversal.SelectSet) != 0 {
				if fault := s.walk(ctx, child, traversal.SelectSet); fault != nil {
					return fault
				}
			}
		}
	}
	return nil
}

// labChildren reads the references that a traversal follows from an object, if it is for such objects.
func labChildren(ctx *Context, ref types.ManagedObjectReference, traversal *types.TraversalSpec) []types.ManagedObjectReference {
	rval, ok := getObject(ctx, ref)
	if !ok || !labIsA(ref, rval.Type(), traversal.Type) {
		return nil
	}
	var children []types.ManagedObjectReference
	ctx.WithLock(ref, func() {
		value, _ := fieldValue(rval, traversal.Path)
		children = append(children, fieldRefs(value)...)
	})
	return children
}
