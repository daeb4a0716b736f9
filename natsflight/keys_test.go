package natsflight

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestKeysAreAnyBytes(t *testing.T) {
	e := startServer(t)
	_, js1 := connect(t, e.urls()...)
	nc2, js2 := connect(t, e.urls()...)
	g1, g2 := newGroup(t, js1, Config{}), newGroup(t, js2, Config{})

	long := strings.Repeat("x", 10_000)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	keys := []string{
		"", " ", "  ", ".", "..", "*", ">", "*.>", "\x00", "\xff", "\xff\xfe", "\r\n", "$JS.API.>", string(every),
		"a", "A", "ä", "a\u0308", "a.b", "a..b", "a.B", "a b", "a b ", "a.*", "a.>", "a>", ".a", "a.", "a/b",
		"a-b", "a_b", "a+b", long, long + "x", long[1:] + "y", strings.ToUpper(long),
	}
	// All are in flight at the same time, so no two share a flight.
	var gates []*gate
	var returned []<-chan result
	for _, key := range keys {
		gate, r := lead(t, g1, key, key)
		gates, returned = append(gates, gate), append(returned, r)
	}
	for i, gate := range gates {
		gate.open()
		assert.Equal(t, result{gate.value(1), nil, false}, receive(t, returned[i]))
	}
	// A flight of such a key is shared by two processes.
	for _, key := range []string{"", ">", "a.b", "\r\n", string(every), long} {
		eventually(t, fmt.Sprintf("a flight of %.20q is shared", key), func() bool { return share(t, g1, g2, nc2, key) })
	}
}

func TestLargestResult(t *testing.T) {
	e := startServer(t)
	_, js1 := connect(t, e.urls()...)
	nc2, js2 := connect(t, e.urls()...)
	for _, test := range []struct {
		name  string
		c     Config
		limit int
	}{
		{"configured", Config{MaxResult: 100}, 100},
		{"default", Config{}, 1_044_480},
	} {
		t.Run(test.name, func(t *testing.T) {
			g1, g2 := newGroup(t, js1, test.c), newGroup(t, js2, test.c)
			key := strings.Repeat("k", 10_000) // does not reduce the limit
			for _, size := range []int{test.limit, test.limit + 1} {
				name := strings.Repeat("v", size-len(" 1"))
				gate, returned1 := lead(t, g1, key, name)
				returned2 := awaitPings(t, nc2, func() <-chan result { return do(t.Context(), g2, key, returning("other")) })
				gate.open()
				for _, got := range []result{receive(t, returned1), receive(t, returned2)} {
					if size > test.limit {
						assert.Equal(t, &TooLargeError{size, test.limit}, got.err)
						assert.Empty(t, got.v)
					} else if assert.NoError(t, got.err) {
						same := got.v == gate.value(1)
						assert.True(t, same, "%d bytes came", len(got.v))
					}
					assert.True(t, got.shared)
				}
			}
		})
	}
}
