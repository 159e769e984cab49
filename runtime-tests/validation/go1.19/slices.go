// Package slices has the functions that the programs use, for a Go without it.
package slices

// Contains says whether v is among s.
func Contains[E comparable](s []E, v E) bool {
	for _, e := range s {
		if e == v {
			return true
		}
	}
	return false
}

// DeleteFunc takes out of s what del holds for.
func DeleteFunc[S ~[]E, E any](s S, del func(E) bool) S {
	kept := s[:0]
	for _, e := range s {
		if !del(e) {
			kept = append(kept, e)
		}
	}
	return kept
}
