/** Claims: which worker of a pool has taken which task. */

import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { Claims } from "../memory/claim.ts";
import type { Item } from "../memory/ring.ts";

const FRAME = 40;

function item(a: number): Item {
  return { bytes: new Uint8Array(0), length: 0, tag: 0, a, b: 0 };
}

test("Claims.taken() counts a claim once its frame was got, however many others were since", () => {
  const claims = new Claims(2);
  assertEquals(claims.taken(0, { frameNumber: FRAME }), 0);
  claims.at(0).take(item(7), FRAME);
  assertEquals(claims.taken(0, { frameNumber: FRAME }), 0, "not committed");
  for (const more of [2, 1_000, 2 ** 30, 2 ** 31, 2 ** 32 - 2]) {
    assertEquals(claims.taken(0, { frameNumber: (FRAME + more) | 0 }), 7, `${more} later`);
  }
  claims.release(0);
  assertEquals(claims.taken(0, { frameNumber: FRAME + 2 }), 0, "answered");
});

test("Claims.taken() does not count what another took after the claimant had died", () => {
  const claims = new Claims(2);
  claims.at(0).take(item(7), FRAME);
  claims.at(1).take(item(7), FRAME);
  assertEquals(claims.taken(0, { frameNumber: FRAME + 2 }), 0);
});
