// Where the plain chat protocol's words lead: its rooms are channels of the same name, and two kinds of channel have a meaning of their own.

/** Everybody of the tenant: `chat` without a room. */
export const lobbyChannel = 'lobby'

const directPrefix = 'dm:'

/** Where direct messages to `user` go. Whether that is a legal channel name is for the session to say, as with any other. */
export function directChannel(user: string): string {
  return `${directPrefix}${user}`
}

export function isDirectChannel(channel: string): boolean {
  return channel.startsWith(directPrefix)
}
