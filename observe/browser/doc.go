// Package browser tests the page of package observe in Chromium. It is a module of its own
// so that what drives the browser does not come into the module graphs of users.
package browser
