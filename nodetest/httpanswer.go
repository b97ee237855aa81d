package nodetest

import (
	"net/http"
	"strings"
	"time"
)

// judge compares an answer with what is wanted. Without a wanted status it is 200.
func (c httpCheck) judge(resp *http.Response, body []byte, took time.Duration) []Finding {
	var findings []Finding
	status := resp.Status
	if to, err := resp.Location(); err == nil {
		to.User, to.RawQuery, to.Fragment = nil, "", ""
		status += ", to " + to.String()
	}
	named := false
	for _, w := range c.wants {
		var f Finding
		switch {
		case w.header != "":
			f = onHeader(resp.Header, w)
		case w.property == "status":
			named = true
			f = found(statusIs(resp.StatusCode, w.value), "status", w.value, status)
		case w.property == "time":
			b, err := readBound(w.value, "<=", secondsNumber)
			f = found(err == nil && b.holds(took.Seconds()), "time", w.value, took.Round(time.Millisecond).String())
		case w.property == "days":
			f = Finding{Want: "days " + w.value, Got: "no TLS"}
			if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
				f = daysLeft(resp.TLS.PeerCertificates[0], w.value, time.Now())
			}
		default:
			f = onText("", w.want, body)
		}
		findings = append(findings, f)
	}
	if !named {
		findings = append([]Finding{found(resp.StatusCode == http.StatusOK, "status", "200", status)}, findings...)
	}
	return findings
}

// onHeader judges a header by all the values that it has. That of a cookie is
// not shown.
func onHeader(h http.Header, w httpWant) Finding {
	name := http.CanonicalHeaderKey(w.header)
	values, there := h[name]
	text := strings.Join(values, "\n")
	var f Finding
	switch {
	case w.property == "absent":
		f = Finding{OK: !there, Want: "header " + name + " absent", Got: excerpt([]byte(text))}
	default:
		f = onText("header "+name, w.want, []byte(text))
		f.OK = f.OK && (there || w.property == lacks)
	}
	switch {
	case !there:
		f.Got = "no header " + name
	case name == "Set-Cookie" || name == "Authorization":
		f.Got = "a value that is not shown"
	}
	return f
}
