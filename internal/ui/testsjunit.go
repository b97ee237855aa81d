package ui

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// JUnit makes the XML file that CI servers read: one test suite a node. FAILED
// is a failure, ERROR and TIMED OUT are errors, as is, in a test case of its
// own, that a node could not be asked. Both the schema of Ant and that of
// Jenkins accept it.
func JUnit(all []Examined) ([]byte, error) {
	var suites junit.Testsuites
	for i, e := range all {
		suites.Suites = append(suites.Suites, junitSuite(i, e))
	}
	// Without sums in the root: Ant's schema does not know them.
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if err := suites.WriteXML(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func junitSuite(id int, e Examined) junit.Testsuite {
	class, suite := e.Node, "nodetest" // Ant's schema wants a package
	if e.Suite != "" {
		class, suite = e.Node+"."+e.Suite, e.Suite
	}
	s := junit.Testsuite{
		ID: id, Name: xmlLine(e.Node), Package: xmlLine(suite), Hostname: xmlLine(hostOf(e)),
		Time:      seconds(e.Took),
		Timestamp: e.Begun.UTC().Format("2006-01-02T15:04:05"), // the schemas want no zone
		SystemOut: &junit.Output{}, SystemErr: &junit.Output{},
	}
	s.AddProperty("target", xmlLine(e.Target))
	s.AddProperty("status", string(e.Status()))
	for _, r := range e.Results {
		s.AddTestcase(junitCase(class, r))
	}
	if e.Err != nil {
		text := xmlText(e.Err.Error())
		if e.Hint != "" {
			text += "\n" + xmlText(e.Hint)
		}
		s.AddTestcase(junit.Testcase{
			Name: notAsked, Classname: xmlLine(class), Time: seconds(0),
			Error: &junit.Result{Message: firstLine(text), Type: string(e.Status()), Data: text},
		})
	}
	return s
}

// notAsked is what the failure to ask a node is called among its checks.
const notAsked = "conc: ask the node"

func junitCase(class string, r nodetest.Result) junit.Testcase {
	c := junit.Testcase{Name: xmlLine(r.Name), Classname: xmlLine(class), Time: seconds(r.Took)}
	text := xmlText(explain(r))
	res := &junit.Result{Message: xmlLine(brief(r)), Type: string(r.Status), Data: text}
	switch {
	case r.Status == nodetest.Skipped:
		c.Skipped = &junit.Result{Message: xmlLine(r.Text)}
	case !r.Bad():
	case r.Known:
		c.Skipped = &junit.Result{Message: "known, it was so before: " + res.Message, Data: text}
	case r.Status == jobs.Failed:
		c.Failure = res
	default:
		c.Error = res
	}
	return c
}

// brief says in one line why a result is bad.
func brief(r nodetest.Result) string {
	switch {
	case len(r.Want) > 0:
		s := fmt.Sprintf("want %s, got %s", firstLine(r.Want[0]), firstLine(r.Got[0]))
		if n := len(r.Want) - 1; n > 0 {
			s += fmt.Sprintf(" (and %d more)", n)
		}
		return s
	case r.Text != "":
		return firstLine(r.Text)
	case len(r.Output) > 0:
		return strings.TrimSpace(r.Output[len(r.Output)-1])
	}
	return string(r.Status)
}

// explain says all that is known of why a result is bad.
func explain(r nodetest.Result) string {
	var lines []string
	for i := range r.Want {
		lines = append(lines, "want "+r.Want[i], "got  "+r.Got[i])
	}
	lines = append(lines, r.Output...)
	for _, s := range []string{r.Text, r.Hint} {
		if s != "" {
			lines = append(lines, s)
		}
	}
	if r.Tries > 1 {
		lines = append(lines, fmt.Sprintf("tried %d times in %s", r.Tries, took(r.Took)))
	}
	return strings.Join(lines, "\n")
}

// hostOf is the host of a target user@host:port.
func hostOf(e Examined) string {
	_, host, ok := strings.Cut(e.Target, "@")
	if i := strings.LastIndexByte(host, ':'); ok && i > 0 {
		return strings.Trim(host[:i], "[]")
	}
	return e.Node
}

// xmlText makes text that XML can hold: what it forbids is escaped as for a
// terminal.
func xmlText(s string) string {
	return strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`).Replace(Escape(s))
}

// xmlLine is xmlText for what stays on one line.
func xmlLine(s string) string { return xmlText(Line(s)) }

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
