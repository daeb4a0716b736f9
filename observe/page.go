package observe

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"time"
)

// Handler returns a page that shows the groups, with the figures of their [Stats], and what
// is in flight in them: the oldest first, with its key, how long fn has run, how many
// callers wait, its [singleflight.State], and whose it is, if the group has a Whose. It also
// shows which keys were called most in the last minutes, by estimate, and the process.
//
// The page has links for what can be asked of it:
//
//   - ?group=NAME shows flights and keys of one group only.
//   - ?state=abandoned shows flights in that state only; the others are flying, forgotten
//     and waiting.
//   - With ?refresh=2 a browser reloads the page every 2 seconds, or any other number up
//     to 3600.
//   - With ?format=json the answer is the same in JSON, with ages in seconds.
//
// At most 200 flights are shown, and 200 characters of a key. A key that is not plain text
// is quoted as in Go, and so is a string that reads like a number, so that 1 and "1" differ.
//
// What is in flight is listed at most once a second for all who ask, and the page says of
// which moment the list is: see [Stats]. The flights are sorted for each page, which takes
// time in proportion to their number, but holds up no call.
//
// Key, Whose, and methods such as String of keys are called for what is shown, in one
// goroutine at a time for all pages of the Handler. If one panics, its row says so. A page
// waits for them for at most a second; then it says where there was no time to ask. If one
// never returns, its goroutine stays, and all pages wait that second in vain.
//
// Keys may be secrets, such as tokens or names of people, and so may the results of Whose.
// Handler does not register itself; the program decides who may see the page. It answers
// only GET and HEAD.
//
// Handler panics if a group is nil, or two have the same Name.
func Handler(groups ...Observed) http.Handler {
	check(groups)
	groups = slices.Clone(groups)
	asker, process := newAsker(), thisProcess()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		p := look(groups, query{r.URL.Query()})
		p.Process = process
		asker.ask(p.questions())
		var body bytes.Buffer
		var err error
		if p.json() {
			w.Header().Set("Content-Type", "application/json")
			err = json.NewEncoder(&body).Encode(p)
		} else {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
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

// maxRows is how many flights a page shows.
const maxRows = 200

// A page is what a Handler shows.
type page struct {
	Time     time.Time `json:"time"`
	Process  process   `json:"process"`
	InFlight int       `json:"in_flight"` // this and the next three are of all groups
	Next     int       `json:"next"`
	Callers  int       `json:"callers"`
	Oldest   age       `json:"oldest_seconds"`
	Groups   []*report `json:"groups"`
	States   []inState `json:"states"` // of all flights of the groups that the query chooses
	Flights  []row     `json:"flights"`
	Rest     int       `json:"rest"` // flights that the query chooses and that are not among these
	Top      []hot     `json:"called_most"`
	query
}

// A process is where a Handler runs.
type process struct {
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

func thisProcess() process {
	host, err := os.Hostname()
	if err != nil {
		host = "a host without a name"
	}
	return process{host, os.Getpid(), base.Round(0)}
}

// An inState is how many flights are in a state.
type inState struct {
	State   string `json:"state"`
	Flights int    `json:"flights"`
}

// look returns the page as it is now, with questions that are to be asked.
func look(groups []Observed, q query) *page {
	p := &page{Groups: []*report{}, Flights: []row{}, Top: []hot{}, query: q}
	for _, state := range states {
		p.States = append(p.States, inState{State: state.String()})
	}
	for _, g := range groups {
		r := g.report(maxRows, q.State())
		p.Groups = append(p.Groups, r)
		p.InFlight += r.InFlight
		p.Next += r.Next
		p.Callers += r.Callers
		p.Oldest = max(p.Oldest, age(r.Oldest))
		if !q.chooses(r.Name) {
			continue
		}
		for i, state := range states {
			p.States[i].Flights += r.states[state]
		}
		p.Flights = append(p.Flights, r.rows...)
		p.Top = append(p.Top, r.top...)
	}
	p.Time = time.Now()
	slices.SortStableFunc(p.Flights, func(a, b row) int { return older(time.Duration(a.Age), a.waits, time.Duration(b.Age), b.waits) })
	p.Flights = p.Flights[:min(maxRows, len(p.Flights))]
	p.Rest = -len(p.Flights)
	for _, s := range p.States {
		if q.State() == "" || q.State() == s.State {
			p.Rest += s.Flights
		}
	}
	slices.SortStableFunc(p.Top, func(a, b hot) int { return cmp.Compare(b.Calls, a.Calls) })
	p.Top = p.Top[:min(maxTop, len(p.Top))]
	return p
}

// questions returns what is to be asked for p, the keys first.
func (p *page) questions() (questions []question) {
	for i := range p.Flights {
		questions = append(questions, question{p.Flights[i].askKey, &p.Flights[i].Key})
	}
	for i := range p.Top {
		questions = append(questions, question{p.Top[i].askKey, &p.Top[i].Key})
	}
	for i := range p.Flights {
		if ask := p.Flights[i].askWhose; ask != nil {
			questions = append(questions, question{ask, &p.Flights[i].Whose})
		}
	}
	return questions
}
