package sync

// OnceValue gives a function that calls f the first time only.
func OnceValue[T any](f func() T) func() T {
	var once Once
	var value T
	return func() T {
		once.Do(func() { value = f() })
		return value
	}
}

// OnceValues is OnceValue for two results.
func OnceValues[T, U any](f func() (T, U)) func() (T, U) {
	var once Once
	var one T
	var two U
	return func() (T, U) {
		once.Do(func() { one, two = f() })
		return one, two
	}
}
