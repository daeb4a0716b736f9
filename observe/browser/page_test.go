package browser

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorflight/singleflight/observe"
)

var (
	update   = flag.Bool("update", false, "take new pictures for ../testdata")
	pictures = flag.String("pictures", "", "write a picture of the top of each page, in each width and colour scheme, to this directory")
)

type whoseKey struct{}

func whose(ctx context.Context) string {
	s, _ := ctx.Value(whoseKey{}).(string)
	return s
}

// atWork returns a page with four flights in progress and one that waits, as if they had
// lasted for some time. calls is how many calls share the oldest.
func atWork(t *testing.T, calls int) (page string) {
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now)) // a bubble begins in the year 2000
		users := &observe.GroupOf[string, int]{Name: "users", Whose: whose}
		tiles := &observe.ShardedOf[string, int]{Name: "tiles"}
		gate := make(chan struct{})
		fn := func(context.Context) (int, error) { <-gate; return 1, nil }
		for i := range 7 {
			for range 40 {
				tiles.DoChan(fmt.Sprint("11/1088/", 711+i), func() (int, error) { time.Sleep(time.Second); return 1, nil })
			}
		}
		time.Sleep(2 * time.Second)
		ctx := context.WithValue(t.Context(), whoseKey{}, "request 8f3a, ada@example.com")
		for range calls {
			users.DoChanContext(ctx, "user:4711", fn)
		}
		time.Sleep(28 * time.Second)
		leaves, leave := context.WithCancel(ctx)
		users.DoChanContext(leaves, "user:1815", fn)
		synctest.Wait()
		leave()
		synctest.Wait()
		users.DoChan("user:1815", func() (int, error) { return 1, nil })
		time.Sleep(3 * time.Second)
		for range 240 {
			tiles.DoChan("12/2176/1423", func() (int, error) { return fn(ctx) })
		}
		tiles.Forget("12/2176/1423")
		time.Sleep(1200 * time.Millisecond)
		tiles.DoChan("12/2176/1423", func() (int, error) { return fn(ctx) })
		time.Sleep(1800 * time.Millisecond)
		page = get(observe.Handler(users, tiles), "/")
		close(gate)
		synctest.Wait()
	})
	return page
}

// crowded returns a page with more flights than it shows, with long keys and names, in all
// states.
func crowded(t *testing.T) (page string) {
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(now))
		long := strings.Repeat("0123456789abcdef", 20)
		a := &observe.GroupOf[string, int]{Name: "a", Whose: func(context.Context) string { return long }}
		b := &observe.GroupOf[any, int]{Name: "reports_of_all_tenants_" + long}
		gate := make(chan struct{})
		fn := func(context.Context) (int, error) { <-gate; return 1, nil }
		ctx, cancel := context.WithCancel(t.Context())
		for i, key := range []any{long, 1, "1", "", "\u202egnp.exe", "\xff", strings.Repeat("many words ", 18)} {
			for range 1 + 1000*i {
				b.DoChan(key, func() (int, error) { return fn(ctx) })
			}
			b.Forget(key)
			b.DoChanContext(ctx, key, fn)
			synctest.Wait()
			time.Sleep(time.Hour)
		}
		cancel()
		synctest.Wait()
		b.DoChanFresh(t.Context(), 1, fn)
		for i := range 236 {
			a.DoChanContext(t.Context(), fmt.Sprint(long[:i], i), fn)
			time.Sleep(20 * time.Millisecond)
		}
		page = get(observe.Handler(a, b), "/")
		close(gate)
		synctest.Wait()
	})
	return page
}

// get returns a page of h, without the name of this machine.
func get(h http.Handler, target string) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	host, _ := os.Hostname()
	return strings.Replace(w.Body.String(), " on "+host, " on web-7", 1)
}

// Whatever is in flight, the page can be read: it is not wider than its window, only keys
// and names break within words, and text has the contrast that WCAG 2 asks for, which is
// 4.5.
func TestLayout(t *testing.T) {
	pages := map[string]string{
		"empty":   get(observe.Handler(&observe.Group{Name: "users"}), "/"),
		"work":    atWork(t, 1001),
		"crowded": crowded(t),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, pages[strings.TrimPrefix(r.URL.Path, "/")])
	}))
	defer server.Close()
	b := open(t)
	for name := range pages {
		b.do(chromedp.Navigate(server.URL + "/" + name))
		for _, width := range []int64{375, 720, 800, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				what := fmt.Sprintf("%s-%d-%s", name, width, scheme)
				b.resize(width, 1600, scheme)
				assert.LessOrEqual(t, eval[int64](b, `document.documentElement.scrollWidth`), width, what)
				assert.Empty(t, eval[[]string](b, broken), what)
				assert.Empty(t, eval[[]string](b, pale), what)
				if *pictures != "" {
					require.NoError(t, os.WriteFile(*pictures+"/"+what+".png", b.top(), 0o644))
				}
			}
		}
	}
	b.do(chromedp.Navigate(server.URL + "/crowded"))
	assert.Positive(t, eval[int](b, `document.querySelectorAll(".key b").length`))
	assert.NotEmpty(t, eval[[]string](b, strings.Replace(broken, ".key b", ".none", 1)), "long keys do break")
	if !*update {
		return
	}
	b.do(chromedp.Navigate(server.URL + "/work"))
	for name, width := range map[string]int64{"page": 1100, "dark": 1100, "phone": 390} {
		scheme := "light"
		if name == "dark" {
			scheme = "dark"
		}
		b.resize(width, 500, scheme)
		require.NoError(t, os.WriteFile("../testdata/"+name+".png", b.picture(), 0o644))
	}
}

// broken lists the words that are on more than one line, except in keys and names.
const broken = `(() => {
	const words = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
	while (texts.nextNode()) {
		const text = texts.currentNode
		if (text.parentElement.closest(".key b, .name")) continue
		for (const word of text.data.matchAll(/\S+/g)) {
			const range = document.createRange()
			range.setStart(text, word.index)
			range.setEnd(text, word.index + word[0].length)
			if (new Set([...range.getClientRects()].map(line => line.top)).size > 1) words.push(word[0].slice(0, 40))
		}
	}
	return words
})()`

// pale lists the texts whose contrast is less than 4.5.
const pale = `(() => {
	const parts = color => color.match(/[\d.]+/g).map(Number)
	const light = color => {
		const [r, g, b] = parts(color).map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
		return 0.2126 * r + 0.7152 * g + 0.0722 * b
	}
	const behind = e => {
		while (parts(getComputedStyle(e).backgroundColor)[3] === 0) e = e.parentElement
		return getComputedStyle(e).backgroundColor
	}
	const texts = []
	for (const e of document.querySelectorAll("body *")) {
		for (const part of ["", "::before"]) {
			const style = getComputedStyle(e, part)
			if (part ? style.content == "none" : ![...e.childNodes].some(n => n.nodeType == Node.TEXT_NODE && n.data.trim())) continue
			const [a, b] = [light(style.color), light(behind(e))]
			const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
			if (contrast < 4.5) texts.push(contrast.toFixed(2) + ": " + e.className + part + " " + e.innerText.slice(0, 40))
		}
	}
	return texts
})()`

// An operator sees a stuck key appear, looks at its group, and sees it go.
func TestLive(t *testing.T) {
	b := open(t)
	users := &observe.GroupOf[string, int]{Name: "users", Whose: whose}
	tiles := &observe.ShardedOf[string, int]{Name: "tiles"}
	server := httptest.NewServer(observe.Handler(users, tiles))
	defer server.Close()
	b.do(chromedp.Navigate(server.URL + "/?refresh=1"))
	assert.Equal(t, "Nothing is in flight", b.read("h1"))

	gate := make(chan struct{})
	fn := func() (int, error) { <-gate; return 1, nil }
	for range 1001 {
		users.DoChan("user:4711", fn)
	}
	tiles.DoChan("12/2176/1423", fn)
	tiles.DoChan("12/2176/1423", fn)

	// The page refreshes, without a script, until it shows what is stuck.
	b.appears(".pill")
	b.do(chromedp.Navigate(server.URL + "/?refresh=1"))
	assert.Zero(t, eval[int](b, `document.scripts.length`))
	b.appears(`a[href="?group=tiles&refresh=1"]`)
	b.do(chromedp.Navigate(server.URL + "/?group=tiles&refresh=1"))
	assert.Equal(t, "2 in flight, 1,003 callers", b.read("h1"))
	assert.Equal(t, "12/2176/1423", b.read(".key b"))
	assert.Equal(t, "2 callers", b.read("td.callers"))
	assert.Equal(t, 1, eval[int](b, `document.querySelectorAll(".pill").length`), "of the group")

	close(gate)
	require.NoError(t, users.Wait(t.Context()))
	require.NoError(t, tiles.Wait(t.Context()))
	b.appears(".none")
	b.do(chromedp.Navigate(server.URL))
	assert.Equal(t, "Nothing is in flight", b.read("h1"))
	assert.Contains(t, b.read("body"), "Keys called most")
}
