// What a client is told of its limits when it connects, the same at both doors.
import type { ClientLimits } from './commands.js'
import type { Fields } from './fields.js'

export function limitsOf(limits: ClientLimits): Fields {
  return {
    message_bytes: limits.messageBytes,
    publish_per_second: limits.publishPerSecond,
    commands_per_second: limits.commandsPerSecond,
    subscriptions: limits.subscriptions,
  }
}
