"""A simulated go-eCharger: physics, both local APIs, and their faults.

It implements docs/protocol.md and shares no code with the exporter, so that a wrong decoder cannot
agree with a wrong simulator. `Charger` is the device, `Car` the car that it charges, `Simulator` a
network of any number of chargers, each a `Box` with an address. `FAULTS` lists the faults that a
box can simulate, `story` is a scripted day and `fleet` any number of chargers for demonstrations:

    with Simulator(speed=60) as simulator:
        charger = Charger("V4")
        box = simulator.add(charger, story=story(charger))
        print(box.address)

`House` puts a charger into a house with solar panels, loads and a meter:

        house = House("scattered")
        box = simulator.add(charger, story=house.live(charger))
        meter = simulator.add_meter(house, box)
        print(f"http://{meter.address}/rpc/EM.GetStatus?id=0")

`Controller` is a go-e Controller in such a house:

        controller = simulator.add_controller(Controller(house), box)
        print(f"http://{controller.address}/api/status?filter=ccp")
"""

from .battery import Battery
from .box import Box
from .car import Car
from .charger import Charger
from .controller import Controller, ControllerBox
from .faults import FAULTS
from .fleet import fleet
from .hardware import MODELS
from .house import House
from .meter import METER_FAULTS, Meter
from .meter_box import MeterBox
from .server import Simulator
from .story import story
from .weather import WEATHERS

__all__ = [
    "FAULTS",
    "METER_FAULTS",
    "MODELS",
    "WEATHERS",
    "Battery",
    "Box",
    "Car",
    "Charger",
    "Controller",
    "ControllerBox",
    "House",
    "Meter",
    "MeterBox",
    "Simulator",
    "fleet",
    "story",
]
