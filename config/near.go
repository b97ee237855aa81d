package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxNear is how many names a suggestion holds.
const maxNear = 3

// Near gives the candidates that word may have been meant for, the nearest
// first and three at most: those within two edits of it, or within one when the
// candidate has four letters or fewer. Case does not count.
func Near(word string, candidates []string) []string {
	type match struct {
		name string
		d    int
	}
	var found []match
	word = strings.ToLower(word)
	for _, c := range candidates {
		if limit := editLimit(c); near(word, c, limit) {
			found = append(found, match{c, distance(word, strings.ToLower(c))})
		}
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(a.d, b.d) })
	var names []string
	for _, m := range found[:min(len(found), maxNear)] {
		names = append(names, m.name)
	}
	return names
}

// editLimit is how many edits away from name a word is still taken for it. In
// a short name two edits make any word of any other.
func editLimit(name string) int {
	if utf8.RuneCountInString(name) <= 4 {
		return 1
	}
	return 2
}

// near tells whether word, in lower case, is within limit edits of name. The
// lengths are compared first: that is cheap, and settles most of a large fleet.
func near(word, name string, limit int) bool {
	if d := utf8.RuneCountInString(word) - utf8.RuneCountInString(name); d > limit || -d > limit {
		return false
	}
	return distance(word, strings.ToLower(name)) <= limit
}

// distance is the Damerau-Levenshtein distance, in its form with adjacent
// transpositions only: the fewest insertions, deletions, replacements and
// swaps of neighbours that make b of a.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	n := len(t) + 1
	rows := make([]int, 3*n)
	before, above, row := rows[:n], rows[n:2*n], rows[2*n:]
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(s); i++ {
		before, above, row = above, row, before
		row[0] = i
		for j := 1; j <= len(t); j++ {
			differ := 1
			if s[i-1] == t[j-1] {
				differ = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+differ)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[n-1]
}

// maxListed is how many names are listed when none is near.
const maxListed = 10

// DidYouMean words a hint of the candidates that are near to word; "" when none is.
func DidYouMean(word string, candidates []string) string {
	near := Near(word, candidates)
	if len(near) == 0 {
		return ""
	}
	for i, n := range near {
		near[i] = strconv.Quote(n)
	}
	return "did you mean " + strings.Join(near, " or ") + "?"
}

// suggest is the hint for a word that is none of the candidates.
func suggest(word string, candidates []string) string {
	if names := Near(word, candidates); len(names) > 0 {
		return "did you mean " + list(names, " or ") + "?"
	}
	if len(candidates) == 0 || len(candidates) > maxListed {
		return ""
	}
	return "choose from " + list(candidates, ", ")
}

func list(names []string, sep string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quote(n)
	}
	return strings.Join(quoted, sep)
}
