"""python -m d2deploy"""

from d2deploy.cli import main

main()
