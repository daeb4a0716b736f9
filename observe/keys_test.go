package observe

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

type (
	plainString string
	stringer    int
	pair        struct {
		Tenant string
		N      int
	}
)

func (stringer) String() string { return "a\nb" }

// Keys that differ are shown differently, and no key can pass for another, or for no key.
func TestKeyText(t *testing.T) {
	for _, test := range []struct {
		key  any
		text string
	}{
		{"user:4711", "user:4711"},
		{"12/2176/1423", "12/2176/1423"},
		{"größer als 日本", "größer als 日本"},
		{plainString("id"), "id"},
		{nil, "<nil>"},
		{"<nil>", `"<nil>"`},
		{1, "1"},
		{"1", `"1"`},
		{plainString("-1.5e3"), `"-1.5e3"`},
		{"0x1F", `"0x1F"`},
		{strings.Repeat("9", 199), `"` + strings.Repeat("9", 199) + `"`},
		{"1e999", `"1e999"`},
		{"NaN", `"NaN"`},
		{math.NaN(), "NaN"},
		{true, "true"},
		{"true", `"true"`},
		{"false", `"false"`},
		{"", `""`},
		{`""`, `"\"\""`},
		{" ", `" "`},
		{"a ", `"a "`},
		{"a  b", "a  b"},
		{"a\x00\nb", `"a\x00\nb"`},
		{"\u202efdp.exe", `"\u202efdp.exe"`},
		{"a\u200bb", `"a\u200bb"`},
		{"a\u00a0b", `"a\u00a0b"`},
		{"\xff\xfe", `"\xff\xfe"`},
		{pair{"a", 1}, `observe.pair{Tenant:"a", N:1}`},
		{[2]string{"a b", "c"}, `[2]string{"a b", "c"}`},
		{time.Second, "1s"},
		{stringer(1), `"a\nb"`},
		{errors.New("no rows"), "no rows"},
	} {
		assert.Equal(t, test.text, keyText(test.key), "%#v", test.key)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	full := strings.Repeat("ä", maxShown)
	assert.Equal(t, full, legible(full))
	assert.Equal(t, full+"… (401 bytes)", legible(full+"b"))
	assert.Equal(t, strconv.Quote("\n"+full[2:])+"… (1,048,577 bytes)", legible("\n"+full[2:]+strings.Repeat("\n", 1<<20-len(full)+2)))
	assert.Equal(t, `"`+strings.Repeat("1", maxShown)+`"… (300 bytes)`, keyText(strings.Repeat("1", 300)))
}
