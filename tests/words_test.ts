/** The words of a text, where it is not ASCII, not complete, or not what its first signs promise. */

import { test } from "node:test";
import { assertEquals, assertNotEquals } from "@std/assert";
import { wordsOf } from "../wire/target/words.ts";

const startsOf = (text: string): number[] => [...wordsOf(text).starts];

test("wordsOf() takes letters of all scripts for parts of names, and odd blanks for blanks", () => {
  assertEquals(startsOf("größe = 1"), [0, 6, 8]);
  assertEquals(startsOf("a\u00a0b\u2028c\u2029d\ufeffe"), [0, 2, 4, 6, 8]);
  assertNotEquals(wordsOf("größe").ids[0], wordsOf("grüße").ids[0]);
});

test("wordsOf() reads on after a quote that its line does not end", () => {
  assertEquals(startsOf("a 'b\nc"), [0, 3, 5]);
  assertEquals(startsOf("a 'b\nc'"), [0, 3, 5]);
  assertEquals(startsOf('a "b'), [0, 3]);
});

test("wordsOf() ends with the text where a comment or a template does not end", () => {
  assertEquals(startsOf("a /* b"), [0]);
  assertEquals(startsOf("a // b"), [0]);
  assertEquals(startsOf("a `b"), [0]);
});

test("wordsOf() finds the words between the braces of a template, and what comes behind it", () => {
  assertEquals(startsOf("`x\\`${ {a} }y` + b"), [8, 15, 17]);
});

test("wordsOf() takes a regular expression for one word, whatever its class holds", () => {
  assertEquals(startsOf("(/[/\\]]b/) + c"), [1, 11, 13]);
});
