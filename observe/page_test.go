package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
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

// reportOf returns the report of a group, with all that is to be asked, and nothing left to ask.
func reportOf(g Observed) *report {
	r := g.report(maxRows, "")
	p := page{Flights: r.rows, Top: r.top}
	for _, q := range p.questions() {
		*q.answer = q.ask()
	}
	for i := range r.rows {
		r.rows[i].askKey, r.rows[i].askWhose = nil, nil
	}
	for i := range r.top {
		r.top[i].askKey = nil
	}
	return r
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
	assert.NotContains(t, text(page), "Keys called most")
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
		assert.Contains(t, said, "4 in flight, 1 waiting to begin, 6 callers")
		assert.Contains(t, said, "The oldest has run for 34 seconds. As of 2000-01-01 00:00:34 UTC , in process ")
		assert.Contains(t, said, "tiles 2 2 4 seconds 2 0 spared 2 0")
		assert.Contains(t, said, "users 2 1 waiting 4 34 seconds 5 3 spared (60%) 2 1")
		assert.Contains(t, said, "What is in flight was listed at 00:00:34.000;")
		assert.Contains(t, said, "all 5 · flying 2 · forgotten 1 · abandoned 1 · waiting 1")
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
			Next     int              `json:"next"`
			Callers  int              `json:"callers"`
			Rest     int              `json:"rest"`
			Flights  []map[string]any `json:"flights"`
			Groups   []map[string]any `json:"groups"`
		}
		require.NoError(t, json.Unmarshal([]byte(get(t, h, "/?format=json")), &got))
		assert.Equal(t, 4, got.InFlight)
		assert.Equal(t, 1, got.Next)
		assert.Equal(t, 6, got.Callers)
		assert.Zero(t, got.Rest)
		require.Len(t, got.Flights, 5)
		assert.Equal(t, map[string]any{
			"group": "users", "key": "ada", "state": "flying", "callers": 3.0, "age_seconds": 34.0,
			"since": "2000-01-01T00:00:00Z", "whose": "request 7",
		}, got.Flights[0])
		assert.Nil(t, got.Flights[4]["since"])
		require.Len(t, got.Groups, 2)
		assert.Equal(t, map[string]any{
			"group": "users", "at": "2000-01-01T00:00:34Z",
			"in_flight": 2.0, "next": 1.0, "callers": 4.0, "oldest_seconds": 34.0,
			"calls": 5.0, "flights": 2.0, "spared": 3.0, "left": 1.0, "outlived": 1.0, "refused": 0.0,
			"failures": map[string]any{"error": 0.0, "panic": 0.0, "goexit": 0.0, "abandoned": 0.0},
		}, got.Groups[1])
		close(gate)
		close(end)
		time.Sleep(maxAge)
		said = text(get(t, h, "/"))
		assert.Contains(t, said, "Keys called most in the last minutes")
		assert.Contains(t, said, "ada users 3 1")
		assert.Contains(t, said, "users 0 0 – 5 2 spared (40%) 3 1 abandoned 1")
	})
}

// Calls without a context are nobody's.
func TestWhoseIsNotCalledInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &GroupOf[string, int]{Whose: func(ctx context.Context) string {
			assert.Fail(t, "there is no context")
			return ""
		}}
		gate := make(chan struct{})
		go g.Do("Do", func() (int, error) { <-gate; return 1, nil })
		stuck(t, g, "DoChan", 1)
		assert.Contains(t, text(get(t, Handler(g), "/")), "2 in flight, 2 callers")
		close(gate)
	})
}

// A flight that waits is nobody's yet. Then it belongs to the call whose function it runs.
func TestWhoseFreshFlight(t *testing.T) {
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
		assert.Contains(t, text(get(t, Handler(g), "/")), "not begun key (no name) 1 caller waiting begins when the flight in progress with its key ends not known")
		close(first)
		time.Sleep(maxAge)
		assert.Contains(t, text(get(t, Handler(g), "/")), "key (no name) 1 caller flying one that stays")
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
		assert.Contains(t, text(get(t, h, "/")), "and 1 more, which are not older")
		for i := range 1100 {
			stuck(t, young, fmt.Sprint("another ", i), 1)
		}
		time.Sleep(maxAge)
		page = get(t, h, "/")
		assert.Equal(t, maxRows, strings.Count(page, `class="key"`))
		assert.Contains(t, text(page), "and 1,101 more, which are not older")
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

func TestLongTextsAreCutOnThePage(t *testing.T) {
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

// Links choose a group or a state, and keep what else is chosen.
func TestChoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users, tiles, noName := &GroupOf[string, int]{Name: "users"}, &GroupOf[string, int]{Name: "a&b=c"}, new(Group)
		h := Handler(users, tiles, noName)
		stuck(t, users, "one", 1)
		stuck(t, users, "two", 1)
		users.Forget("two")
		stuck(t, tiles, "three", 1)
		for target, keys := range map[string]string{
			"/?":                            "one two three",
			"/?group=users":                 "one two",
			"/?group=a%26b%3Dc":             "three",
			"/?group=":                      "", // that without a name
			"/?group=unknown":               "",
			"/?state=forgotten":             "two",
			"/?state=flying&group=users":    "one",
			"/?state=unknown":               "",
			"/?state=abandoned&group=users": "",
		} {
			page := get(t, h, target)
			assert.Contains(t, text(page), "3 in flight, 3 callers", "of all groups")
			var got struct {
				Rest    int
				Flights []row
			}
			require.NoError(t, json.Unmarshal([]byte(get(t, h, target+"&format=json")), &got))
			var listed []string
			for _, f := range got.Flights {
				listed = append(listed, f.Key)
				assert.Contains(t, page, "<b>"+f.Key+"</b>")
			}
			slices.Sort(listed)
			want := strings.Fields(keys)
			slices.Sort(want)
			assert.Equal(t, want, append([]string{}, listed...), target)
			assert.Equal(t, len(want), strings.Count(page, `class="key"`), target)
			assert.Equal(t, len(want) == 0, strings.Contains(page, "None of the flights is of this kind."), target)
			assert.Zero(t, got.Rest, target)
		}
		page := get(t, h, "/?group=users&state=forgotten&refresh=5&other=1")
		for _, link := range []string{
			`<a href="?group=users&amp;state=forgotten">stop`,
			`<a href="?format=json&amp;group=users&amp;refresh=5&amp;state=forgotten">JSON`,
			`<a href="?group=a%26b%3Dc&amp;refresh=5&amp;state=forgotten">a&amp;b=c`,
			`<a href="?group=&amp;refresh=5&amp;state=forgotten">(no name)`,
			`<a href="?refresh=5&amp;state=forgotten">all groups`,
			`<a href="?group=users&amp;refresh=5">all</a> 2`,
			`<a href="?group=users&amp;refresh=5&amp;state=flying">flying</a> 1`,
			`<b>forgotten</b> 1`,
		} {
			assert.Contains(t, page, link)
		}
		assert.NotContains(t, page, "other")
	})
}

// The headline, the groups, the states and the rows agree, whatever is cut or chosen.
func TestSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users, tiles := &GroupOf[int, int]{Name: "users"}, &GroupOf[int, int]{Name: "tiles"}
		h := Handler(users, tiles)
		for i := range 150 {
			stuck(t, users, i, 2)
			stuck(t, tiles, i, 1)
			if i < 60 {
				tiles.DoChanFresh(t.Context(), i, func(context.Context) (int, error) { return 1, nil })
			}
		}
		synctest.Wait()
		page := get(t, h, "/")
		assert.Contains(t, text(page), "300 in flight, 60 waiting to begin, 510 callers")
		assert.Contains(t, text(page), "tiles 150 60 waiting 210")
		for target, want := range map[string]int{"/?": 360, "/?group=tiles": 210, "/?group=tiles&state=flying": 150, "/?state=waiting": 60} {
			var got struct {
				Rest    int
				Flights []any
				States  []inState
			}
			require.NoError(t, json.Unmarshal([]byte(get(t, h, target+"&format=json")), &got))
			assert.Len(t, got.Flights, min(maxRows, want))
			assert.Equal(t, want, got.Rest+len(got.Flights), target)
		}
		assert.Contains(t, text(get(t, h, "/?group=tiles")), "all 210 · flying 150 · forgotten 0 · abandoned 0 · waiting 60")
	})
}

// A Whose that panics spoils one row.
func TestWhosePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &GroupOf[string, int]{Whose: func(ctx context.Context) string { return ctx.Value(valueKey{}).(string) }}
		end := make(chan struct{})
		fn := func(context.Context) (int, error) { <-end; return 1, nil }
		g.DoChanContext(t.Context(), "bad", fn)
		g.DoChanContext(context.WithValue(t.Context(), valueKey{}, "ada"), "good", fn)
		g.DoChanContext(context.WithValue(t.Context(), valueKey{}, ""), "none", fn)
		synctest.Wait()
		said := text(get(t, Handler(g), "/"))
		assert.Contains(t, said, "bad (no name) 1 caller flying (Whose panicked: interface conversion")
		assert.Contains(t, said, "good (no name) 1 caller flying ada")
		assert.Contains(t, said, "none (no name) 1 caller flying not known")
		close(end)
	})
}

// The page waits for slow functions of users for a second in all. One that hangs leaves one
// goroutine, however many pages there are, and only until it returns.
func TestWhoseIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, hang := make(chan struct{}), make(chan struct{})
		asked, pause := 0, 150*time.Millisecond
		users := &GroupOf[int, int]{Name: "users", Whose: func(context.Context) string {
			asked++
			if asked > 5 {
				<-hang
			}
			time.Sleep(pause)
			return "ada"
		}}
		h := Handler(users)
		for i := range 9 {
			users.DoChanContext(t.Context(), 1000+i, func(context.Context) (int, error) { <-end; return 1, nil })
		}
		synctest.Wait()
		for i := range 3 {
			before := time.Now()
			page := text(get(t, h, "/"))
			assert.Equal(t, patience, time.Since(before))
			if i == 0 {
				assert.Equal(t, 9, strings.Count(page, "100"), "all keys")
				assert.Equal(t, 5, strings.Count(page, "flying ada"))
				assert.Equal(t, 4, strings.Count(page, "flying (there was no time to ask)"))
			} else {
				assert.Equal(t, 9, strings.Count(page, keyNotAsked))
			}
			synctest.Wait()
			assert.Equal(t, 6, asked)
		}
		close(hang)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, 6, asked, "no more is asked for a page that is gone")
		asked, pause = -9, 0
		assert.NotContains(t, text(get(t, h, "/")), "no time")
		close(end)
	})
}

// A function that ends its goroutine ends the asking, not the page.
func TestWhoseExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &GroupOf[string, int]{Whose: func(context.Context) string { runtime.Goexit(); return "" }}
		end := make(chan struct{})
		g.DoChanContext(t.Context(), "key", func(context.Context) (int, error) { <-end; return 1, nil })
		synctest.Wait()
		h := Handler(g)
		for range 2 {
			assert.Contains(t, text(get(t, h, "/")), "key (no name) 1 caller flying "+whoseNotAsked)
		}
		close(end)
	})
}

// A group's Key redacts its keys wherever they are shown.
func TestKeyRedacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redact := func(key string) string {
			if key == "secret panic" {
				panic(key)
			}
			return strings.Replace(key, "secret", "***\n", 1)
		}
		group, sharded := &GroupOf[string, int]{Name: "a", Key: redact}, &ShardedOf[string, int]{Name: "b", Key: redact}
		h := Handler(group, sharded)
		end := make(chan struct{})
		fn := func() (int, error) { <-end; return 1, nil }
		for range 2 {
			for _, key := range []string{"secret 1", "secret panic"} {
				group.DoChan(key, fn)
				sharded.DoChan(key, fn)
			}
		}
		synctest.Wait()
		for range 2 { // first in flight, then as those called most
			for _, format := range []string{"html", "json"} {
				page := strings.ReplaceAll(get(t, h, "/?format="+format), `\\`, `\`) // as JSON has it
				assert.NotContains(t, page, "secret")
				assert.Equal(t, 2, strings.Count(page, `***\n 1`), "quoted")
				assert.Equal(t, 2, strings.Count(page, "(Key panicked)"))
			}
			if end != nil {
				close(end)
				end = nil
			}
			time.Sleep(maxAge)
		}
	})
}

// A time says its date if that is not today's, and the page of which moments its lists are.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &GroupOf[string, int]{Name: "a"}, &GroupOf[string, int]{Name: "b"}
		stuck(t, a, "key", 1)
		time.Sleep(24 * time.Hour)
		stuck(t, a, "another", 1)
		b.Stats()
		time.Sleep(maxAge / 2)
		for _, h := range []http.Handler{Handler(a, b), Handler(b, a)} {
			assert.Contains(t, text(get(t, h, "/")), "listed from 00:00:00.000 to 00:00:00.500;")
		}
		said := text(get(t, Handler(a), "/"))
		assert.Contains(t, said, "1 day since 1 Jan 00:00:00 key")
		assert.Contains(t, said, "500 ms since 00:00:00 another")
		assert.Contains(t, said, "As of 2000-01-02 00:00:00 UTC")
	})
}

func TestProcess(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	var got struct{ Process process }
	require.NoError(t, json.Unmarshal([]byte(get(t, Handler(), "/?format=json")), &got))
	assert.Equal(t, host, got.Process.Host)
	assert.Equal(t, os.Getpid(), got.Process.PID)
	assert.WithinRange(t, got.Process.Since, time.Now().Add(-time.Hour), time.Now())
	assert.Contains(t, text(get(t, Handler(), "/")), fmt.Sprintf("in process %d on %s, which began %s", os.Getpid(), host, fullClock(got.Process.Since)))
}

// Screen readers get headings, captions and the headers of rows and columns.
func TestStructure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &GroupOf[string, int]{Name: "users"}
		for range 2 {
			g.Do("key", func() (int, error) { return 1, nil })
		}
		stuck(t, g, "key", 2)
		page := get(t, Handler(g), "/")
		for _, part := range []string{"<main>", "</main>"} {
			assert.Equal(t, 1, strings.Count(page, part))
		}
		assert.Equal(t, 3, strings.Count(page, "<table>"))
		assert.Equal(t, 3, strings.Count(page, "<caption><h2>"))
		assert.Equal(t, 3, strings.Count(page, `<th scope="row"`), "one row in each table")
		assert.Equal(t, strings.Count(page, "<th ")-3, strings.Count(page, `<th scope="col"`))
		assert.NotContains(t, page, "<th>")
	})
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
