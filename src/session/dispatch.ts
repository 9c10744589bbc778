// Chooses the handler of a command.
import { CommandError, unreachable } from '../errors.js'
import { closeCodes } from '../protocol/codes.js'
import type { Command, ReplyRef } from '../protocol/commands.js'
import type { Client } from './client.js'
import { handleConnect } from './commands/connect.js'
import { handlePublish } from './commands/publish.js'
import { handleHistory, handlePresence, handlePresenceStats } from './commands/query.js'
import { handleRefresh, handleSubscriptionRefresh } from './commands/refresh.js'
import { handleSubscribe, handleUnsubscribe } from './commands/subscribe.js'

/** The `Dispatch` of a gateway. Not async itself: an async function would add a promise to each command. */
export function dispatch(client: Client, command: Command, ref: ReplyRef): Promise<void> {
  switch (command.kind) {
    case 'connect':
      return handleConnect(client, command, ref)
    case 'subscribe':
      return handleSubscribe(client, command, ref)
    case 'unsubscribe':
      return handleUnsubscribe(client, command, ref)
    case 'publish':
      return handlePublish(client, command, ref)
    case 'presence':
      return handlePresence(client, command, ref)
    case 'presenceStats':
      return handlePresenceStats(client, command, ref)
    case 'history':
      return handleHistory(client, command, ref)
    case 'refresh':
      return handleRefresh(client, command, ref)
    case 'subRefresh':
      return handleSubscriptionRefresh(client, command, ref)
    case 'rpc':
      return Promise.reject(
        new CommandError('NOT_AVAILABLE', `No procedure "${command.method}": this server has none`),
      )
    case 'send':
      client.close(closeCodes.notAvailable)
      return Promise.resolve()
    default:
      return unreachable(command)
  }
}
