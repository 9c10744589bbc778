// The ping frames of the endpoints.
import type { Codec } from '../../protocol/commands.js'
import type { Frame } from '../transport.js'

const pingFrames = new WeakMap<Codec, Frame>()

/**
 * Returns the one ping frame of all sessions of an endpoint: pings are most of the cost of an idle
 * connection.
 */
export function pingFrame(codec: Codec): Frame {
  const known = pingFrames.get(codec)
  if (known) return known
  const frame: Frame = { payload: codec.ping, pings: codec.nativePing }
  pingFrames.set(codec, frame)
  return frame
}
