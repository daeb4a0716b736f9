package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func get(t *testing.T, h http.Handler, target string) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	require.Equal(t, http.StatusOK, w.Code)
	return w.Body.String()
}

// text returns the text of a page, without markup.
func text(page string) string {
	_, body, _ := strings.Cut(page, "<body>")
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(body, "<")
		b.WriteString(before)
		if !ok {
			return strings.Join(strings.Fields(b.String()), " ")
		}
		b.WriteByte(' ')
		_, body, _ = strings.Cut(rest, ">")
	}
}

// stuck makes a flight with so many callers, which ends with the test.
func stuck[K comparable](t *testing.T, g *GroupOf[K, int], key K, callers int) {
	gate := make(chan struct{})
	t.Cleanup(func() { close(gate) })
	for range callers {
		g.DoChan(key, func() (int, error) { <-gate; return 1, nil })
	}
	synctest.Wait()
}

func TestEmptyPage(t *testing.T) {
	page := get(t, Handler(new(Group)), "/")
	assert.Contains(t, text(page), "Nothing is in flight. No function runs, and no caller waits.")
	assert.NotContains(t, text(page), "Called most")
	assert.Contains(t, page, "<title>nothing in flight")
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(get(t, Handler(), "/?format=json")), &got))
	for _, list := range []string{"flights", "groups", "called_most"} {
		assert.Equal(t, []any{}, got[list], "%s is a list, not null", list)
	}
}

// The oldest flight of all groups comes first, with all its columns.
func TestPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := &GroupOf[string, int]{Name: "users", Whose: func(ctx context.Context) string {
			return fmt.Sprint(ctx.Value(valueKey{}))
		}}
		tiles := &GroupOf[int, int]{Name: "tiles"}
		h := Handler(tiles, users)
		gate := make(chan struct{})
		ctx := context.WithValue(t.Context(), valueKey{}, "request 7")
		for range 3 {
			users.DoChanContext(ctx, "ada", func(context.Context) (int, error) { <-gate; return 1, nil })
		}
		time.Sleep(30 * time.Second)
		stuck(t, tiles, 4711, 1)
		time.Sleep(time.Second)
		stuck(t, tiles, 4712, 1)
		tiles.Forget(4712)
		time.Sleep(3 * time.Second)
		end := abandon(t, users)
		users.DoChan("key", func() (int, error) { return 1, nil })

		page := get(t, h, "/")
		said := text(page)
		assert.Contains(t, page, "<title>4 in flight, oldest 34 seconds")
		assert.Contains(t, said, "4 flights, 6 callers wait")
		assert.Contains(t, said, "The oldest has lasted for 34 seconds.")
		rest := said
		for _, row := range []string{
			"34 seconds since 00:00:00 ada users 3 callers flying request 7",
			"4 seconds since 00:00:30 4711 tiles 1 caller flying not known",
			"3 seconds since 00:00:31 4712 tiles 1 caller forgotten its key was freed",
			"less than 1 ms since 00:00:34 key users 0 callers abandoned all callers have left",
			"not begun key users 1 caller waiting begins when the flight in progress with its key ends not known",
		} {
			var found bool
			_, rest, found = strings.Cut(rest, row)
			assert.True(t, found, "%s\nis not where it should be in\n%s", row, said)
		}
		assert.Contains(t, page, `<i style="width: 100%">`)
		assert.Contains(t, page, `<i style="width: 33%">`)
		assert.NotContains(t, page, `<i style="width: 0%">`)
		assert.Contains(t, page, `<tr class="old flying">`)
		assert.Contains(t, page, `<tr class="slow flying">`)

		var got struct {
			InFlight int              `json:"in_flight"`
			Waiting  int              `json:"waiting"`
			Rest     int              `json:"rest"`
			Flights  []map[string]any `json:"flights"`
			Groups   []map[string]any `json:"groups"`
		}
		require.NoError(t, json.Unmarshal([]byte(get(t, h, "/?format=json")), &got))
		assert.Equal(t, 4, got.InFlight)
		assert.Equal(t, 6, got.Waiting)
		assert.Zero(t, got.Rest)
		require.Len(t, got.Flights, 5)
		assert.Equal(t, map[string]any{
			"group": "users", "key": "ada", "state": "flying", "callers": 3.0, "age_seconds": 34.0,
			"since": "2000-01-01T00:00:00Z", "owner": "request 7",
		}, got.Flights[0])
		assert.Nil(t, got.Flights[4]["since"])
		require.Len(t, got.Groups, 2)
		delete(got.Groups[1], "failures")
		assert.Equal(t, map[string]any{
			"group": "users", "in_flight": 2.0, "behind": 1.0, "waiting": 4.0, "oldest_seconds": 34.0,
			"flights": 2.0, "joined": 3.0, "left": 1.0, "outlived": 1.0, "refused": 0.0,
		}, got.Groups[1])
		close(gate)
		close(end)
		synctest.Wait()
		said = text(get(t, h, "/"))
		assert.Contains(t, said, "Called most in the last minutes")
		assert.Contains(t, said, "ada users 3 1")
		assert.Contains(t, said, "users 3 2 (40%) 1 1 abandoned")
	})
}

// Calls without a context have no owner.
func TestOwnerIsNotCalledInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &GroupOf[string, int]{Whose: func(ctx context.Context) string {
			assert.Fail(t, "there is no context")
			return ""
		}}
		gate := make(chan struct{})
		go g.Do("Do", func() (int, error) { <-gate; return 1, nil })
		stuck(t, g, "DoChan", 1)
		assert.Contains(t, text(get(t, Handler(g), "/")), "2 flights")
		close(gate)
	})
}

// A flight that waits has no owner yet. It belongs to the call whose function it runs.
func TestOwnerOfAFreshFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &GroupOf[string, int]{Whose: func(ctx context.Context) string { return fmt.Sprint(ctx.Value(valueKey{})) }}
		first, next := make(chan struct{}), make(chan struct{})
		g.DoChan("key", func() (int, error) { <-first; return 1, nil })
		fn := func(context.Context) (int, error) { <-next; return 2, nil }
		ctx, leave := context.WithCancel(context.WithValue(t.Context(), valueKey{}, "one that leaves"))
		g.DoChanFresh(ctx, "key", fn)
		g.DoChanFresh(context.WithValue(t.Context(), valueKey{}, "one that stays"), "key", fn)
		leave()
		synctest.Wait()
		assert.Contains(t, text(get(t, Handler(g), "/")), "not begun key 1 caller waiting begins when the flight in progress with its key ends not known")
		close(first)
		time.Sleep(maxAge)
		assert.Contains(t, text(get(t, Handler(g), "/")), "key 1 caller flying one that stays")
		close(next)
	})
}

// Keys, names and owners may contain any text.
func TestMarkupIsEscaped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const markup = `</td><script>alert("key")</script>`
		g := &GroupOf[string, int]{Name: markup, Whose: func(context.Context) string { return markup }}
		gate := make(chan struct{})
		for range 2 {
			g.DoChanContext(t.Context(), markup, func(context.Context) (int, error) { <-gate; return 1, nil })
		}
		synctest.Wait()
		page := get(t, Handler(g), "/")
		assert.NotContains(t, page, "<script")
		assert.Equal(t, 4, strings.Count(page, "&lt;script&gt;alert"))
		json := get(t, Handler(g), "/?format=json")
		assert.NotContains(t, json, "<script")
		assert.Equal(t, 4, strings.Count(json, `\u003cscript\u003ealert`))
		close(gate)
		time.Sleep(maxAge)
		page = get(t, Handler(g), "/")
		assert.NotContains(t, page, "<script")
		assert.Equal(t, 3, strings.Count(page, "&lt;script&gt;alert"), "as a key that was joined")
	})
}

func TestRowsAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, young := &GroupOf[string, int]{Name: "old"}, &GroupOf[string, int]{Name: "young"}
		h := Handler(young, old)
		stuck(t, old, "the oldest", 1)
		time.Sleep(time.Second)
		for i := range maxRows - 1 {
			stuck(t, young, fmt.Sprint("key ", i), 1)
		}
		page := get(t, h, "/")
		assert.Equal(t, maxRows, strings.Count(page, `class="key"`))
		assert.NotContains(t, text(page), "more")
		stuck(t, young, "one more", 1)
		time.Sleep(maxAge)
		assert.Contains(t, text(get(t, h, "/")), "and 1 younger flight more")
		for i := range 1100 {
			stuck(t, young, fmt.Sprint("another ", i), 1)
		}
		time.Sleep(maxAge)
		page = get(t, h, "/")
		assert.Equal(t, maxRows, strings.Count(page, `class="key"`))
		assert.Contains(t, text(page), "and 1,101 younger flights more")
		assert.Contains(t, text(page), "the oldest")
		var got struct {
			Rest    int   `json:"rest"`
			Flights []any `json:"flights"`
		}
		require.NoError(t, json.Unmarshal([]byte(get(t, h, "/?format=json")), &got))
		assert.Len(t, got.Flights, maxRows)
		assert.Equal(t, 1101, got.Rest)
	})
}

func TestLongTextsAreCut(t *testing.T) {
	assert.Equal(t, strings.Repeat("ä", maxShown), cut(strings.Repeat("ä", maxShown)))
	assert.Equal(t, strings.Repeat("ä", maxShown)+"… (201 characters)", cut(strings.Repeat("ä", maxShown+1)))
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("long", 1<<18)
		g := &GroupOf[string, int]{Whose: func(context.Context) string { return long }}
		gate := make(chan struct{})
		for range 2 {
			g.DoChanContext(t.Context(), long, func(context.Context) (int, error) { <-gate; return 1, nil })
		}
		synctest.Wait()
		assert.Less(t, len(get(t, Handler(g), "/")), 20_000)
		close(gate)
		synctest.Wait()
		assert.Less(t, len(get(t, Handler(g), "/")), 20_000)
	})
}

func TestRefresh(t *testing.T) {
	h := Handler(new(Group))
	refresh := `<meta http-equiv="refresh" content=`
	page := get(t, h, "/?refresh=2")
	assert.Contains(t, page, refresh+`"2">`)
	assert.Contains(t, text(page), "every 2 seconds · stop")
	for _, target := range []string{"/", "/?refresh=", "/?refresh=0", "/?refresh=-1", "/?refresh=x", "/?refresh=3601"} {
		assert.NotContains(t, get(t, h, target), refresh, target)
	}
}

func TestOnlyGetAndHead(t *testing.T) {
	server := httptest.NewServer(Handler(new(Group)))
	defer server.Close()
	client := server.Client()
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions} {
		for query, kind := range map[string]string{"": "text/html; charset=utf-8", "?format=json": "application/json"} {
			r, err := http.NewRequestWithContext(t.Context(), method, server.URL+query, nil)
			require.NoError(t, err)
			response, err := client.Do(r)
			require.NoError(t, err)
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			response.Body.Close()
			if method != http.MethodGet && method != http.MethodHead {
				assert.Equal(t, http.StatusMethodNotAllowed, response.StatusCode, method)
				assert.Equal(t, "GET, HEAD", response.Header.Get("Allow"))
				continue
			}
			assert.Equal(t, http.StatusOK, response.StatusCode, method)
			assert.Equal(t, method == http.MethodHead, len(body) == 0)
			assert.Equal(t, kind, response.Header.Get("Content-Type"))
			assert.Equal(t, "no-store", response.Header.Get("Cache-Control"))
			assert.Equal(t, "nosniff", response.Header.Get("X-Content-Type-Options"))
			assert.Contains(t, response.Header.Get("Content-Security-Policy"), "default-src 'none'")
		}
	}
	client.CloseIdleConnections()
}
