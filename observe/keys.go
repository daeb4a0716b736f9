package observe

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file makes the texts in which the page shows keys, and other texts of users.

// keyText returns the text that is shown for a key, unless the group has a Key. A string
// that reads like another type's value is quoted, so that the keys 1 and "1" differ. A
// struct or an array is shown in Go's syntax, in which its strings are quoted.
func keyText(key any) string {
	switch key.(type) {
	case fmt.Formatter, fmt.Stringer, error:
		return legible(fmt.Sprint(key))
	}
	switch v := reflect.ValueOf(key); v.Kind() {
	case reflect.String:
		if s := v.String(); isLiteral(s) {
			return cut(s, strconv.Quote)
		}
	case reflect.Struct, reflect.Array:
		return legible(fmt.Sprintf("%#v", key))
	}
	return legible(fmt.Sprint(key))
}

// isLiteral reports whether s reads like a number, a pointer, a bool or nil.
func isLiteral(s string) bool {
	_, notFloat := strconv.ParseFloat(s, 64) // it may be out of range
	_, notAddress := strconv.ParseUint(s, 0, 64)
	return !errors.Is(notFloat, strconv.ErrSyntax) || notAddress == nil || s == "true" || s == "false" || s == "<nil>"
}

// legible returns s, shortened if it is long. It quotes a text that would not be seen as it
// is: one that is empty or begins or ends with a space, and one with a control character,
// an invisible one such as those that turn the direction of writing, or invalid UTF-8. It
// also quotes one that begins with a quotation mark, which would pass for a quoted one.
func legible(s string) string {
	return cut(s, func(s string) string {
		if s == "" || s[0] == '"' || strings.TrimSpace(s) != s || !printable(s) {
			return strconv.Quote(s)
		}
		return s
	})
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0
}

// maxShown is how many characters of a text are shown.
const maxShown = 200

// cut returns what write makes of the beginning of s, and adds the length of s if that is
// not all of it.
func cut(s string, write func(string) string) string {
	n := 0
	for i := range s {
		if n == maxShown {
			return write(s[:i]) + "… (" + number(len(s)) + " bytes)"
		}
		n++
	}
	return write(s)
}
