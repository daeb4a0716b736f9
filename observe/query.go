package observe

import (
	"net/url"
	"strconv"
)

// A query is what the page's address asks for.
type query struct{ values url.Values }

// Group returns the name of the group that is chosen.
func (q query) Group() string { return q.values.Get("group") }

// OneGroup reports whether a group is chosen, be it one without a name.
func (q query) OneGroup() bool { return q.values.Has("group") }

func (q query) chooses(group string) bool { return !q.OneGroup() || q.Group() == group }

// State returns the state that is chosen, or "".
func (q query) State() string { return q.values.Get("state") }

// Refresh returns after how many seconds the page reloads, or 0.
func (q query) Refresh() int {
	n, err := strconv.Atoi(q.values.Get("refresh"))
	if err != nil || n < 1 || n > 3600 {
		return 0
	}
	return n
}

func (q query) json() bool { return q.values.Get("format") == "json" }

// With returns the address of the same page with another value for name.
func (q query) With(name, value string) string {
	values := q.others(name)
	values.Set(name, value)
	return "?" + values.Encode()
}

// Without returns the address of the same page without a value for name.
func (q query) Without(name string) string { return "?" + q.others(name).Encode() }

// others returns what the query has besides name.
func (q query) others(name string) url.Values {
	others := make(url.Values)
	for _, other := range []string{"group", "state", "refresh"} {
		if other != name && q.values.Has(other) {
			others.Set(other, q.values.Get(other))
		}
	}
	return others
}
