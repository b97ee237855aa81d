package cli

import (
	"fmt"
	"io"
	"path"
	"strings"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/ui"
)

// demoTeller says what the demo does, around what the deploy itself shows.
type demoTeller struct {
	w       io.Writer
	name    string // of the program
	project demoProject
	options demoOptions
}

func (s demoTeller) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.w, format, args...) }

// before says what is about to be seen.
func (s demoTeller) before() {
	s.printf("A throwaway node is serving SSH at %s; its home is\n  %s\n", s.project.node.Addr, ui.Line(s.project.node.Home))
	s.printf("The project to deploy to it is %s,\nwhose list of steps is\n\n", ui.Line(s.project.path("deploy.ini")))
	for _, l := range demoList(s.project.ini) {
		s.printf("  %s\n", l.text)
	}
	s.printf("\n$ %s deploy %s\n", s.name, demoNode)
}

// after shows what the deploy has left on the node.
func (s demoTeller) after(code int) error {
	list, err := testnode.Tree(s.project.node.Home)
	if err != nil {
		return err
	}
	s.printf("\nNow on the node:\n\n")
	open := false
	for _, name := range list {
		open = open || name == "site-bundle/"
		if inside, ok := strings.CutPrefix(name, ".conc/"); ok {
			if inside == "" {
				s.printf("  .conc/                      what %s keeps there for itself\n", s.name)
			}
			continue
		}
		depth := strings.Count(strings.TrimSuffix(head(name), "/"), "/")
		base := path.Base(head(name))
		s.printf("  %s%s%s\n", strings.Repeat("  ", depth), ui.Line(base), ui.Line(name[len(strings.TrimSuffix(head(name), "/")):]))
	}
	if open {
		s.printf("\nThe bundle, site-bundle, is still there: it is the lock, and what was delivered.\n")
	} else {
		s.printf("\nThe bundle, site-bundle, is gone: the node is free for the next change.\n")
	}
	if s.options.keep != "" {
		return nil
	}
	s.printf("This node is gone now, with everything that was on it. Next:\n\n")
	again := s.name + " demo"
	if s.options.failAt == "" {
		s.printf("  %-30s  a step that fails, and what to do then\n", again+" --fail-at check")
	} else {
		again += " --fail-at " + quote(s.options.failAt)
	}
	s.printf("  %-30s  a node that stays, to type commands of your own\n", again+" --keep play")
	s.printf("  %-30s  a deploy.ini for a node of your own\n", s.name+" init")
	return nil
}

// head is a name of a tree without a link's target.
func head(name string) string {
	name, _, _ = strings.Cut(name, " -> ")
	return name
}

// serving says what to type in another terminal.
func (s demoTeller) serving() {
	s.printf("\nThe node serves on until Ctrl-C. In another terminal:\n\n")
	s.printf("  . %s\n", quote(s.project.path("env")))
	for _, l := range [][2]string{
		{"plan " + demoNode + " --by-hand", "what a deploy would do, as shell lines"},
		{"deploy " + demoNode + " --set version=1.1", "the next release"},
		{"deploy " + demoNode, "and back"},
	} {
		s.printf("  %-35s  # %s\n", s.name+" "+l[0], l[1])
	}
	if s.options.failAt != "" {
		s.printf("\nFirst give the lock back, as said above, and mend step %s in\n%s.\n",
			ui.Line(s.options.failAt), ui.Line(s.project.path("deploy.ini")))
	}
}

// kept says what stays.
func (s demoTeller) kept() {
	s.printf("\nThe node is gone. Its home and the project stay in %s.\n", ui.Line(s.project.dir))
}
