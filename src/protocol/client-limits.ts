// Encodes the limits that a client receives when it connects; both protocols use the same fields.
import type { ClientLimits } from './commands.js'
import type { MessageFields } from './message-fields.js'

export function limitsFields(limits: ClientLimits): MessageFields {
  return {
    message_bytes: limits.messageBytes,
    publish_per_second: limits.publishPerSecond,
    commands_per_second: limits.commandsPerSecond,
    subscriptions: limits.subscriptions,
  }
}
