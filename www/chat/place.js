// @ts-check
// Where this page is: the lobby or a room, and the addresses beside it. All are relative to the page's own address, so
// that the chat works below any path.

const ROOM = /\/r\/([^/]+)$/;

const found = ROOM.exec(location.pathname);

/** The room's name as the address has it; the server's hello says how it is written. */
export const roomInAddress = found ? decoded(found[1]) : "lobby";

/** The address below which the chat is: the lobby's. */
export const lobby = new URL(found ? ".." : ".", location.href);

/** The address of a room's page, or the lobby's. What this address asks for goes along. @param {string} name */
export function addressOfRoom(name) {
  const path = name.toLowerCase() === "lobby" ? "." : `r/${encodeURIComponent(name)}`;
  return new URL(path + location.search, lobby);
}

/** The name that the page's address asks for (`?name=Ann`), or "". */
export const nameInAddress = () => new URLSearchParams(location.search).get("name") ?? "";

/** Ask for another name from now on, also when the page is loaded again. @param {string} name */
export function setNameInAddress(name) {
  const address = new URL(location.href);
  address.searchParams.set("name", name);
  history.replaceState(null, "", address);
}

/**
 * The WebSocket's address. A page served over https must use wss.
 *
 * @param {string} name the name to join with, or ""
 * @param {string | null} since the last token seen
 */
export function socketAddress(name, since) {
  const address = new URL(found ? `${location.pathname}/ws` : "ws", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  if (name) address.searchParams.set("name", name);
  if (since !== null) address.searchParams.set("since", since);
  return address;
}

/** @param {string} part of an address */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
