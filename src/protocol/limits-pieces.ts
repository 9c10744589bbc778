// What a client is told of its limits when it connects, the same at both doors.
import type { ClientLimits } from './commands.js'
import { object, type Pieces } from './json-pieces.js'

export function limitsOf(limits: ClientLimits): Pieces {
  return object({
    message_bytes: limits.messageBytes,
    publish_per_second: limits.publishPerSecond,
    commands_per_second: limits.commandsPerSecond,
    subscriptions: limits.subscriptions,
  })
}
