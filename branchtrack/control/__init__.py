"""Both ends of the channel between people and a training process: requests, answers, launches.

The asking end validates against what the run itself declared, stores, and waits for the answer.
The training end polls, answers and says that it lives. It knows no trainer, no page, no shell.
"""

from branchtrack.control.answering import expire_hanging as expire_hanging
from branchtrack.control.answering import expire_unanswered as expire_unanswered
from branchtrack.control.answering import poll as poll
from branchtrack.control.asking import cancel as cancel
from branchtrack.control.asking import live_segment as live_segment
from branchtrack.control.asking import preview as preview
from branchtrack.control.asking import submit as submit
from branchtrack.control.commands import way_to_start as way_to_start
from branchtrack.control.commands import what_is_gone as what_is_gone
from branchtrack.control.ordering import MODES as MODES
from branchtrack.control.ordering import check_here as check_here
from branchtrack.control.ordering import check_order as check_order
from branchtrack.control.ordering import check_parts as check_parts
from branchtrack.control.ordering import mode_in_force as mode_in_force
from branchtrack.control.ordering import order_launch as order_launch
from branchtrack.control.ordering import resume_settings as resume_settings
from branchtrack.control.ordering import validate_overrides as validate_overrides
from branchtrack.control.refusing import count_refusals as count_refusals
from branchtrack.control.texts import clean_text as clean_text
from branchtrack.control.texts import local_actor as local_actor
from branchtrack.control.texts import shortened as shortened
from branchtrack.control.verification import verify_node as verify_node
from branchtrack.control.verification import verify_record as verify_record
from branchtrack.control.verification import verify_state as verify_state
from branchtrack.control.waiting import wait as wait
