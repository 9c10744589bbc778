// Names of channels in the chat protocol. A room is the channel of the same name; the lobby and direct
// messages have channels of their own.

/** The channel of all users of the tenant: where `chat` without a room is published. */
export const lobbyChannel = 'lobby'

const directPrefix = 'dm:'

/** Returns the channel of direct messages to `user`. The session validates the name, as for every channel. */
export function directChannel(user: string): string {
  return `${directPrefix}${user}`
}

/** True for a channel of direct messages. */
export function isDirectChannel(channel: string): boolean {
  return channel.startsWith(directPrefix)
}
