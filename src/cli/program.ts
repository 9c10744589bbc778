// All subcommands of `parley`.
import { Command } from 'commander'
import { benchCommand } from './bench.js'
import { canCommand } from './can.js'
import { controllerCommand } from './controller/command.js'
import { crdsCommand } from './crds.js'
import { devCommand } from './dev/command.js'
import { endsByTheList } from './exit-codes.js'
import { gatewayCommand } from './gateway.js'
import { tokenCommand } from './token.js'
import { version } from './version.js'

export function createProgram(): Command {
  return endsByTheList(new Command('parley'))
    .description('Real-time chat for every team of a Kubernetes cluster.')
    .version(version)
    .addCommand(devCommand())
    .addCommand(gatewayCommand())
    .addCommand(controllerCommand())
    .addCommand(tokenCommand())
    .addCommand(canCommand())
    .addCommand(crdsCommand())
    .addCommand(benchCommand())
    .showHelpAfterError('(parley --help lists the commands)')
}
