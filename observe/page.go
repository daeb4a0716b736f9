package observe

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Handler returns a page that shows what is in flight in groups: the oldest first, with
// its key, how long fn has run, how many callers wait, and whose it is, if the group has
// a Whose. It also shows what the groups have counted, as [Collector] describes, and
// which keys were called most in the last minutes.
//
// With ?refresh=2 a browser reloads the page every 2 seconds, or any other number up to
// 3600. With ?format=json the answer is the same in JSON, with ages in seconds. At most
// 200 flights are shown, and 200 characters of a key.
//
// Keys may be secrets, such as tokens or names of people, and so may the results of Whose.
// Handler does not register itself; the program decides who may see the page. It answers
// only GET and HEAD.
//
// Handler panics if a group is nil, or two have the same Name.
func Handler(groups ...Observed) http.Handler {
	check(groups)
	groups = slices.Clone(groups)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		p := look(groups)
		var body bytes.Buffer
		var err error
		if r.FormValue("format") == "json" {
			w.Header().Set("Content-Type", "application/json")
			err = json.NewEncoder(&body).Encode(p)
		} else {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			p.Refresh = seconds(r.FormValue("refresh"))
			err = html.Execute(&body, p)
		}
		if err != nil { // a bug in this package
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(body.Bytes()) // the client may be gone
	})
}

// seconds returns the number in ?refresh=, or 0 if it is not from 1 to 3600.
func seconds(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 3600 {
		return 0
	}
	return n
}

// maxRows is how many flights a page shows.
const maxRows = 200

// A page is what a Handler shows.
type page struct {
	Time     time.Time `json:"time"`
	InFlight int       `json:"in_flight"`
	Behind   int       `json:"behind"`
	Waiting  int       `json:"waiting"`
	Flights  []row     `json:"flights"`
	Rest     int       `json:"rest"` // flights that are not among these
	Groups   []report  `json:"groups"`
	Top      []hot     `json:"called_most"`
	Refresh  int       `json:"-"` // seconds; 0 if the page does not reload
}

// look returns the page as it is now.
func look(groups []Observed) *page {
	p := &page{Time: time.Now(), Flights: []row{}, Groups: []report{}, Top: []hot{}}
	for _, g := range groups {
		r := g.report(maxRows)
		p.InFlight += r.InFlight
		p.Behind += r.Behind
		p.Waiting += r.Waiting
		p.Flights = append(p.Flights, r.rows...)
		p.Top = append(p.Top, r.top...)
		p.Groups = append(p.Groups, r)
	}
	slices.SortStableFunc(p.Flights, func(a, b row) int { return older(time.Duration(a.Age), a.waits, time.Duration(b.Age), b.waits) })
	p.Flights = p.Flights[:min(maxRows, len(p.Flights))]
	p.Rest = p.InFlight + p.Behind - len(p.Flights)
	slices.SortStableFunc(p.Top, func(a, b hot) int { return cmp.Compare(b.Calls, a.Calls) })
	p.Top = p.Top[:min(maxTop, len(p.Top))]
	return p
}

// The rest is for the template.

//go:embed page.html
var source string

var html = template.Must(template.New("page").Funcs(template.FuncMap{"number": number, "count": countOf}).Parse(source))

// Oldest returns the first of the flights that have begun, or nil.
func (p *page) Oldest() *row {
	if p.InFlight == 0 {
		return nil
	}
	return &p.Flights[0]
}

// Bar returns the length of the bar for so many callers, in percent of the longest.
func (p *page) Bar(callers int) int {
	most := 1
	for _, f := range p.Flights {
		most = max(most, f.Callers)
	}
	return 100 * callers / most
}

// Level says whether the flight is old.
func (r *row) Level() string {
	switch age := time.Duration(r.Age); {
	case age >= 10*time.Second:
		return "old"
	case age >= time.Second:
		return "slow"
	default:
		return "young"
	}
}

// Mark explains a State that needs it.
func (r *row) Mark() string {
	switch r.State {
	case "forgotten":
		return "its key was freed; a new flight may be in flight beside it"
	case "abandoned":
		return "all callers have left, and the function has not returned"
	case "waiting":
		return "begins when the flight in progress with its key ends"
	}
	return ""
}

// Clock returns when the flight began.
func (r *row) Clock() string { return r.Since.Format("15:04:05") }

// Saved returns how many of the calls that got a result were spared, in percent.
func (r *report) Saved() int {
	if r.Joined == 0 {
		return 0
	}
	return int(100 * r.Joined / (r.Joined + r.Flights))
}

// Failed returns how many flights have failed, and how.
func (r *report) Failed() string {
	var parts []string
	for ending, n := range r.Failures.All() {
		if n > 0 {
			parts = append(parts, number(n)+" "+ending)
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// number returns n with a comma between thousands.
func number(n any) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// countOf returns n with its noun.
func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}
