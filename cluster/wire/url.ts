import type { RedisOptions } from "ioredis";

/** Where Redis is. */
export interface Address {
  /** For the client. */
  options: Omit<RedisOptions, "replyMapping">;
  /** For people: without a password. */
  shown: string;
}

/**
 * Reads the URL of a Redis.
 *
 * @param url `redis://user:password@host:port/db`, `rediss://…` over TLS, or `unix:///path?db=1&password=…` and
 * `redis+unix:///path` for a socket.
 * @returns The options of the client.
 * @throws {TypeError} If it is none of these.
 */
export function parseUrl(url: string | URL): Address {
  const text = String(url);
  if (!URL.canParse(text)) throw unreadable("the URL is none, such as redis://host:6379");
  const { protocol, hostname, port, pathname, searchParams, username, password } = new URL(text);
  const socket = protocol === "unix:" || protocol === "redis+unix:";
  if (!socket && protocol !== "redis:" && protocol !== "rediss:") {
    throw new TypeError(
      `Cannot connect: the URL must begin with redis:, rediss:, unix: or redis+unix:, ` +
        `but begins with ${protocol}`,
    );
  }
  const db = socket ? searchParams.get("db") : pathname.slice(1) || searchParams.get("db");
  if (db !== null && !/^\d+$/.test(db)) {
    throw unreadable("the database, after the host's slash, must be a number");
  }
  if (socket && (hostname !== "" || pathname.length < 2)) {
    throw new TypeError(`Cannot connect: the URL of a socket is ${protocol}///path/of/the.sock`);
  }
  // A URL without a host has no place for them.
  const user = socket ? searchParams.get("username") : decode(username);
  const secret = socket ? searchParams.get("password") : decode(password);
  const options: Address["options"] = {
    ...(user && { username: user }),
    ...(secret && { password: secret }),
    ...(db !== null && { db: Number(db) }),
  };
  if (socket) {
    const path = decode(pathname);
    return { options: { ...options, path }, shown: path };
  }
  const host = hostname.replace(/^\[(.*)\]$/, "$1") || "127.0.0.1";
  const shown = `${hostname || host}:${port || 6379}`;
  return {
    options: {
      ...options,
      host,
      port: Number(port || 6379),
      ...(protocol === "rediss:" && { tls: {} }),
    },
    shown,
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw unreadable("a percent sign of the URL begins no code");
  }
}

/** Does not show what cannot be read: a part of it may be a password. */
function unreadable(why: string): TypeError {
  return new TypeError(
    `Cannot connect: ${why}; within a password write / ? # @ % as %2F %3F %23 %40 %25`,
  );
}
