package strings

// CutPrefix gives s without the prefix, and whether s had it.
func CutPrefix(s, prefix string) (string, bool) {
	return TrimPrefix(s, prefix), HasPrefix(s, prefix)
}
