/**
 * The names of keys in Redis: `mp:{cluster}:kind:name`.
 *
 * The braces make a hash tag: in a Redis Cluster all keys of one of our clusters lie on one node, so
 * that one script can use several. The name comes last, so that no name can be taken for another key.
 *
 * @module
 */

/** What a key holds. */
export type Kind =
  | "answers"
  | "event"
  | "lock"
  | "queue"
  | "queue-state"
  | "semaphore"
  | "semaphore-value"
  | "value";

const LONGEST = 200;

/**
 * Checks a name given by the user.
 *
 * @param what What is named, such as `Lock`.
 * @param name The name.
 * @returns The name.
 * @throws {TypeError} If it is no string.
 * @throws {RangeError} If it is empty, longer than 200 characters, or has characters that nobody can see.
 */
export function checkName(what: string, name: string): string {
  if (typeof name !== "string") {
    throw new TypeError(`Cannot create ${what}: its name must be a string, but is ${typeof name}`);
  }
  if (name.length < 1 || name.length > LONGEST) {
    throw new RangeError(
      `Cannot create ${what}: its name must have 1 to ${LONGEST} characters, but has ${name.length}`,
    );
  }
  // A half of a surrogate pair has no form of its own in UTF-8: two such names would be one.
  const bad = /[\p{Cc}\p{Cs}]/u.exec(name);
  if (bad) {
    throw new RangeError(
      `Cannot create ${what}: its name has a control character or half a character, ` +
        `at index ${bad.index} of ${JSON.stringify(name)}`,
    );
  }
  return name;
}

/**
 * Checks the name of a cluster, which stands within the braces of all keys.
 *
 * @param name The name.
 * @returns The name.
 * @throws {TypeError} If it is no string.
 * @throws {RangeError} As {@linkcode checkName}, or if it has a brace.
 */
export function checkCluster(name: string): string {
  checkName("cluster", name);
  if (/[{}]/.test(name)) {
    throw new RangeError(
      `Cannot create cluster: its name must have no braces, but is ${JSON.stringify(name)}`,
    );
  }
  return name;
}

/**
 * The key of one thing.
 *
 * @param cluster The cluster's name, checked.
 * @param kind What the key holds.
 * @param name The thing's name, checked.
 * @returns The key, which is also the channel on which its changes are published.
 */
export function keyOf(cluster: string, kind: Kind, name: string): string {
  return `mp:{${cluster}}:${kind}:${name}`;
}
